"""Asks provider plugins. The interpreter of the build environment runs this script.

Standard library only: nothing of polywheel is imported, because the environment may not have it.

Arguments: a folder with ``request.json``, which gets the answer; a number that marks all processes that are started
from here; and the number of the process that asks.

``request.json``::

    {"limit": 100000,                          the maximum number of values of one plugin
     "plugins": [{"namespace": "x86_64",                           or null if unknown
                  "reference": "module:object",
                  "distribution": "provider-variant-x86-64",       whose version to return, or null
                  "properties": [["level", "v3"]],                 to validate
                  "setup": [["level", "v3"]],                      to ask build setup for
                  "supported": false}]}                            whether to ask what fits this machine

``answer.json``, which is complete or missing: ``{"answers": [ANSWER, …]}`` in the order of the request. An ANSWER is
``{"error": "…", "call": "…", "missing": bool}``, or ``{"ended": exit code}`` if the plugin ended its process (the
negative number of a signal if it was killed), or::

    {"namespace": "x86_64" or null, "generation": "2025-06", "version": "0.0.1" or null,
     "all": [["level", ["v1", "v2"], false], …] or null,      if there is get_all_configs
     "valid": [true, …],                                       one for each property
     "supported": [[…]] or null,                               also if a property is not valid and
     "compatible": bool,                                       the plugin has no list
     "setup": {"cflags": ["-march=x86-64-v3"]},                for all properties together
     "setup_each": [{"cflags": …}, …]}                         and for each property

``call-N`` has the current call of plugin N, so that messages can name a plugin that ends or blocks the process. The
output of a plugin is in ``log-N``. On systems without fork, ask only one plugin at a time.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys

# The folder of this script is not on the path, because plugins must not find its modules.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
questions = importlib.import_module("_host_questions")
del sys.path[0]


def redirect(path):
    """Redirect the output to a file: descriptors, and streams that accept all characters."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    plain = {"encoding": "utf-8", "errors": "backslashreplace", "closefd": False}
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1, **plain)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, **plain)
    return sys.stdout, sys.stderr


def bound_output(mark):
    """Limit files to 64 MB, so that a plugin with endless output fails before the disk is full.

    The hard limit is larger than any file. It is a mark that is visible from outside: all child processes inherit
    it, even if they leave the process group and change the environment.
    """
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY:
        hard = mark
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(64 * 1024 * 1024, hard), hard))


def end_with_parent(parent):
    """End the process group soon after the process that asks, which may have been killed.

    This is checked once a second, because few systems notify about it.
    """
    if not hasattr(signal, "setitimer") or os.getpgrp() != os.getpid():
        return

    def look(*_):
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)


def ask_in_fork(number, plugin, folder, limit):
    """The answer of one plugin, from a separate process if the system can fork.

    This is cheap, and plugins do not share modules, environment, and current folder. Two existing plugins each
    include a library of the same name, and can't be imported into one process.
    """
    os.makedirs(folder, 0o700, exist_ok=True)  # the previous plugin may have removed it
    if not hasattr(os, "fork"):
        return json.loads(answer_here(number, plugin, folder, limit))
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the parent checks; timers are not inherited
        questions.write(folder, f"answer-{number}", answer_here(number, plugin, folder, limit))
        os._exit(0)  # without atexit handlers and threads of the plugin
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    try:
        with open(os.path.join(folder, f"answer-{number}"), encoding="ascii") as file:
            answer = json.load(file)
    except (OSError, ValueError, RecursionError):
        answer = None
    return {"ended": code} if code or answer is None else answer


def answer_here(number, plugin, folder, limit):
    streams = redirect(os.path.join(folder, f"log-{number}"))
    answer = questions.ask(number, plugin, folder, limit)
    for stream in streams:
        try:
            stream.flush()
        except BaseException:
            pass
    return answer


def main():
    folder = os.path.abspath(sys.argv[1])
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as file:
        request = json.load(file)
    bound_output(int(sys.argv[2]))
    end_with_parent(int(sys.argv[3]))
    answers = [
        ask_in_fork(number, plugin, folder, request["limit"])
        for number, plugin in enumerate(request["plugins"])
    ]
    questions.write(folder, "answer.json", json.dumps({"answers": answers}))
    os._exit(0)


if __name__ == "__main__":
    main()

"""Asks provider plugins. Run as a script by the interpreter of the build environment.

Standard library only: whatever that environment holds, nothing of polywheel's is imported here.

Arguments: a folder that holds ``request.json`` and gets the answer, a number that marks every
process that is started from here, and the number of the process that asks.

``request.json``::

    {"limit": 100000,                       values that a plugin may name in all
     "plugins": [{"namespace": "x86_64",                           or null, to be told
                  "reference": "module:object",
                  "distribution": "provider-variant-x86-64",     whose version is told, or null
                  "properties": [["level", "v3"]],               to be judged
                  "setup": [["level", "v3"]],                    to ask build setup for
                  "supported": false}]}                          whether to ask what fits here

``answer.json``, there whole or not at all: ``{"answers": [ANSWER, …]}`` in the order of the request.
An ANSWER is ``{"error": "…", "call": "…", "missing": bool}``, or ``{"ended": exit code}`` of one
that ended its process (minus the number of a signal), or::

    {"namespace": "x86_64" or null, "generation": "2025-06", "version": "0.0.1" or null,
     "all": [["level", ["v1", "v2"], false], …] or null,     where there is get_all_configs
     "valid": [true, …],                                      one a property
     "supported": [[…]] or null,                              also where a property is not valid
     "compatible": bool,                                      and the plugin lists nothing
     "setup": {"cflags": ["-march=x86-64-v3"]},               asked for all properties at once
     "setup_each": [{"cflags": …}, …]}                        and for each by itself

``call-N`` holds the call that plugin N is in, so that one that ends or hangs the process can be
named. What it prints goes to ``log-N``. Where the system can't fork, ask for one plugin at a time.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys

# The folder of this script is not on the path: its other modules are no plugins' business.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
questions = importlib.import_module("_host_questions")
del sys.path[0]


def redirect(path):
    """Output into a file, by descriptors and by streams, which take what can't be encoded too."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    plain = {"encoding": "utf-8", "errors": "backslashreplace", "closefd": False}
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", buffering=1, **plain)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, **plain)
    return sys.stdout, sys.stderr


def bound_output(mark):
    """No file above 64 MB: a plugin that prints without end fails before the disk is full.

    The limit behind that limit is far above any file. It is there to be seen from outside: what is
    started from here inherits it, even where it leaves the process group and the environment.
    """
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY:
        hard = mark
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(64 * 1024 * 1024, hard), hard))


def end_with(parent):
    """End, with the whole process group, soon after the process that asks: one that is killed can't
    end anybody any more. Looked at once a second, as few systems tell.
    """
    if not hasattr(signal, "setitimer") or os.getpgrp() != os.getpid():
        return

    def look(*_):
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)


def ask_apart(number, plugin, folder, limit):
    """The answer of one plugin, out of a process of its own where the system can fork.

    That is cheap, and one plugin's modules, environment and current folder are not another's: two
    real ones carry a library of the same name each, and can't be imported into one process.
    """
    os.makedirs(folder, 0o700, exist_ok=True)  # the last one may have removed it
    if not hasattr(os, "fork"):
        return json.loads(answer_here(number, plugin, folder, limit))
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # its parent looks; timers are not inherited
        questions.put(folder, f"answer-{number}", answer_here(number, plugin, folder, limit))
        os._exit(0)  # not through atexit handlers and threads that the plugin left
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    try:
        with open(os.path.join(folder, f"answer-{number}"), encoding="ascii") as file:
            said = json.load(file)
    except (OSError, ValueError, RecursionError):
        said = None
    return {"ended": code} if code or said is None else said


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
    end_with(int(sys.argv[3]))
    answers = [
        ask_apart(number, plugin, folder, request["limit"])
        for number, plugin in enumerate(request["plugins"])
    ]
    questions.put(folder, "answer.json", json.dumps({"answers": answers}))
    os._exit(0)


if __name__ == "__main__":
    main()

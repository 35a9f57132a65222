"""Asks provider plugins. Run as a script by the interpreter of the build environment.

Standard library only: whatever that environment holds, nothing of polywheel's is imported here.

Arguments: a folder that holds ``request.json`` and gets the answer.

``request.json``::

    {"limit": 100000,                       values that a plugin may name in all
     "plugins": [{"namespace": "x86_64",
                  "reference": "module:object",
                  "distribution": "provider-variant-x86-64",     whose version is told, or null
                  "properties": [["level", "v3"]],               to be judged
                  "setup": [["level", "v3"]],                    to ask build setup for
                  "supported": false}]}                          whether to ask what fits here

``answer.json``, there whole or not at all: ``{"answers": [ANSWER, …]}`` in the order of the request.
An ANSWER is ``{"error": "…", "call": "…", "missing": bool}`` or::

    {"generation": "2025-06", "version": "0.0.1",
     "all": [["level", ["v1", "v2"], false], …] or null,     where there is get_all_configs
     "valid": [true, …],                                      one a property
     "supported": [[…]] or null, "compatible": bool,
     "setup": {"cflags": ["-march=x86-64-v3"]},               asked for all properties at once
     "setup_each": [{"cflags": …}, …]}                        and for each by itself

``progress`` holds the number of the plugin that is being asked and the call that it is in, so that
one that ends or hangs the process can be named. What plugin N prints goes to ``log-N``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from itertools import islice


class Property:
    """What plugins get: namespace, feature and value, hashable and comparable."""

    def __init__(self, namespace, feature, value):
        self.namespace = namespace
        self.feature = feature
        self.value = value

    def _key(self):
        return (self.namespace, self.feature, self.value)

    def __eq__(self, other):
        return isinstance(other, Property) and self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def __repr__(self):
        return " :: ".join(self._key())

    to_str = __repr__


class Wrong(Exception):
    """A plugin's answer is not what the interface says."""


class Asked:
    """One plugin, and which call it is in."""

    def __init__(self, number, request, folder, limit):
        self.number = number
        self.request = request
        self.folder = folder
        self.limit = limit
        self.call = ""

    def enter(self, call):
        self.call = call
        with open(os.path.join(self.folder, "progress"), "w", encoding="ascii") as file:
            file.write(f"{self.number} {call}")

    def answer(self):
        namespace = self.request["namespace"]
        self.enter("import")
        plugin = load(self.request["reference"])
        self.enter("namespace")
        own = getattr(plugin, "namespace", None)
        if own is not None and own != namespace:
            raise Wrong(f"it governs the namespace {own!r}, not {namespace!r}")
        everything = None
        if callable(getattr(plugin, "get_all_configs", None)):
            self.enter("get_all_configs")
            everything = self.configs(plugin.get_all_configs())
        elif not callable(getattr(plugin, "validate_property", None)):
            raise Wrong("it has neither get_all_configs nor validate_property")
        pairs = self.request["setup"]
        return {
            "generation": generation(plugin),
            "version": version(self.request["distribution"]),
            "all": everything,
            "valid": [self.valid(plugin, everything, *pair) for pair in self.request["properties"]],
            "supported": self.supported(plugin),
            "compatible": bool(
                getattr(plugin, "all_properties_compatible", False)
                or getattr(plugin, "is_aot_plugin", False)
            ),
            "setup": self.setup(plugin, pairs),
            "setup_each": [self.setup(plugin, [pair]) for pair in pairs],
        }

    def valid(self, plugin, everything, feature, value):
        if everything is not None:
            return any(feature == name and value in values for name, values, _ in everything)
        self.enter("validate_property")
        said = plugin.validate_property(Property(self.request["namespace"], feature, value))
        if not isinstance(said, bool):
            raise Wrong(f"validate_property returned {brief(said)}, not true or false")
        return said

    def supported(self, plugin):
        if not self.request["supported"]:
            return None
        self.enter("get_supported_configs")
        ask = plugin.get_supported_configs
        # 2025-06: the properties that the wheels at hand have, or None for all.
        return self.configs(ask(None) if takes_an_argument(ask) else ask())

    def setup(self, plugin, pairs):
        ask = getattr(plugin, "get_build_setup", None)
        if not pairs or not callable(ask):
            return {}
        self.enter("get_build_setup")
        said = ask([Property(self.request["namespace"], *pair) for pair in pairs])
        if not isinstance(said, dict):
            raise Wrong(f"get_build_setup returned {brief(said)}, not a dict")
        if len(said) > self.limit:
            raise Wrong(f"get_build_setup returned {len(said)} keys")
        return {self.text(key, "a key"): self.strings(value, key) for key, value in said.items()}

    def configs(self, said):
        if isinstance(said, (str, bytes, dict)) or not hasattr(said, "__iter__"):
            raise Wrong(f"{self.call} returned {brief(said)}, not a list of feature configs")
        found = []
        for config in islice(said, self.limit + 1):
            for attribute in ("name", "values"):
                if not hasattr(config, attribute):
                    raise Wrong(f"{self.call} returned {brief(config)}, which has no {attribute}")
            multi = getattr(config, "multi_value", False)
            if not isinstance(multi, bool):
                raise Wrong(f"multi_value of {brief(config.name)} is {brief(multi)}")
            name = self.text(config.name, "the name of a feature")
            found.append([name, self.strings(config.values, name), multi])
        return found

    def strings(self, said, where):
        if isinstance(said, str):
            said = [said]  # seen in the wild in place of a list
        if isinstance(said, (bytes, dict)) or not hasattr(said, "__iter__"):
            raise Wrong(f"{self.call} returned {brief(said)} for {brief(where)}, not strings")
        found = []
        for text in said:
            self.limit -= 1
            if self.limit < 0:
                raise Wrong(f"{self.call} returned too many values")
            found.append(self.text(text, f"a value of {brief(where)}"))
        return found

    def text(self, said, what):
        if not isinstance(said, str):
            raise Wrong(f"{self.call} returned {brief(said)} as {what}, not a string")
        if len(said) > 4096:
            raise Wrong(f"{self.call} returned a string of {len(said)} characters as {what}")
        return str(said)


def brief(value):
    """A value in words that fit a message, whatever its repr does."""
    try:
        text = ascii(value)
    except Exception:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def load(reference):
    """The object that a reference names: a module, an instance, or a class.

    Classes of 2025 have methods and are instantiated; those since PEP 817 have class or static
    methods and are not.
    """
    module, _, path = reference.partition(":")
    found = importlib.import_module(module)
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    if inspect.isclass(found):
        methods = ("get_supported_configs", "get_all_configs", "validate_property")
        kinds = [inspect.getattr_static(found, name, None) for name in methods]
        if any(inspect.isfunction(kind) for kind in kinds):
            return found()
    return found


def generation(plugin):
    if not hasattr(plugin, "namespace"):
        return "2026"
    if hasattr(plugin, "validate_property"):
        return "2025-06"
    if hasattr(plugin, "get_build_setup"):
        return "2025-04"
    return "PEP 817"


def version(distribution):
    if distribution is None:
        return None
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed(distribution)
    except PackageNotFoundError:
        return None


def takes_an_argument(function):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(parameter.kind in positional for parameter in parameters)


def ask(asked):
    """The answer of one plugin, or what it did instead."""
    try:
        return asked.answer()
    except Wrong as error:
        return {"error": str(error), "call": asked.call, "missing": False}
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a plugin's fault too
        import traceback

        traceback.print_exc()
        try:
            said = str(error)
        except Exception:
            said = ""
        what = f"{type(error).__name__}: {said[:1000]}" if said else type(error).__name__
        missing = isinstance(error, ModuleNotFoundError) and asked.call == "import"
        return {"error": what, "call": asked.call, "missing": missing}


def bound_output():
    """No file above 64 MB: a plugin that prints without end fails before the disk is full."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    wanted = 64 * 1024 * 1024
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted, hard))


def main():
    folder = os.path.abspath(sys.argv[1])
    with open(os.path.join(folder, "request.json"), encoding="utf-8") as file:
        request = json.load(file)
    bound_output()
    home, environment = os.getcwd(), dict(os.environ)
    answers = []
    for number, plugin in enumerate(request["plugins"]):
        log = os.open(os.path.join(folder, f"log-{number}"), os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        answers.append(ask(Asked(number, plugin, folder, request["limit"])))
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        # The next plugin gets the world as it was.
        os.chdir(home)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
    part = os.path.join(folder, "answer.part")
    with open(part, "w", encoding="ascii") as file:
        json.dump({"answers": answers}, file)
    os.replace(part, os.path.join(folder, "answer.json"))
    os._exit(0)  # not through atexit handlers and threads that a plugin left


if __name__ == "__main__":
    main()

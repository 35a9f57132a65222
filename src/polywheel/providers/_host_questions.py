"""The questions that :mod:`_host` puts to a plugin, and what is taken for an answer.

Standard library only, as everything that runs in that process.
"""

from __future__ import annotations

import importlib
import json
import os
from itertools import islice

from _host_version import version

NO_LIST = (bytes, bytearray, dict, set, frozenset)  # can be iterated over, and are not it


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
        self.process = os.getpid()
        self.number = number
        self.request = request
        self.namespace = request["namespace"]
        self.folder = folder
        self.limit = limit
        self.room = 20 * limit  # characters
        self.call = ""

    def enter(self, call):
        self.call = call
        self.only_here()
        put(self.folder, f"call-{self.number}", call)

    def only_here(self):
        """A child that the plugin forked, and that came back from the call, goes no further."""
        if os.getpid() != self.process:
            os._exit(0)

    def answer(self):
        self.enter("import")
        found = load(self.request["reference"])
        self.enter("its constructor")
        plugin = instance(found)
        self.enter("namespace")
        self.check_namespace(getattr(plugin, "namespace", None))
        everything = None
        if callable(getattr(plugin, "get_all_configs", None)):
            self.enter("get_all_configs")
            everything = self.configs(plugin.get_all_configs())
        elif not callable(getattr(plugin, "validate_property", None)):
            raise Wrong("it has neither get_all_configs nor validate_property")
        valid = [self.valid(plugin, everything, *pair) for pair in self.request["properties"]]
        pairs = self.request["setup"] if all(valid) else []
        answer = {
            "namespace": self.namespace,
            "generation": generation(plugin, everything),
            "version": version(self.request["distribution"]),
            "all": plain(everything),
            "valid": valid,
            "supported": self.supported(plugin, hint=everything is None and not all(valid)),
            "compatible": self.compatible(plugin),
            "setup": self.setup(plugin, pairs),
            "setup_each": [self.setup(plugin, [pair]) for pair in pairs],
        }
        return json.dumps(answer)

    def check_namespace(self, own):
        if own is None:
            return
        if not isinstance(own, str):
            raise Wrong(f"its namespace is {brief(own)}, not a string")
        own = self.text(own, "its namespace")
        if self.namespace not in (None, own):
            raise Wrong(f"it has the namespace {brief(own)}, not {self.namespace!r}")
        self.namespace = own

    def valid(self, plugin, everything, feature, value):
        for name, values, _ in everything or ():
            if feature == name and value in values:
                return True
        if not callable(getattr(plugin, "validate_property", None)):
            return False
        self.enter("validate_property")
        said = plugin.validate_property(Property(self.namespace, feature, value))
        if said is not True and said is not False:
            raise Wrong(f"validate_property returned {brief(said)}, not true or false")
        return said

    def supported(self, plugin, *, hint):
        """What fits this machine; as a ``hint``, only if the plugin can say it."""
        if not self.request["supported"] and not hint:
            return None
        self.enter("get_supported_configs")
        try:
            call = plugin.get_supported_configs
            # 2025-06: the properties that the wheels at hand have, or None for all.
            return plain(self.configs(call(None) if wants_an_argument(call) else call()))
        except BaseException:
            if self.request["supported"]:
                raise
            return None

    def compatible(self, plugin):
        self.enter("all_properties_compatible")
        # A class that inherits the attribute from a protocol has a property there: no answer.
        names = ("all_properties_compatible", "is_aot_plugin")
        return any(getattr(plugin, name, None) is True for name in names)

    def setup(self, plugin, pairs):
        if not pairs or not callable(getattr(plugin, "get_build_setup", None)):
            return {}
        self.enter("get_build_setup")
        said = plugin.get_build_setup([Property(self.namespace, *pair) for pair in pairs])
        if not isinstance(said, dict):
            raise Wrong(f"get_build_setup returned {brief(said)}, not a dict")
        found = {}
        for key, value in said.items():
            name = self.text(key, "a key")
            found[name] = self.strings(value, name)
        return found

    def configs(self, said):
        """``[name, values, multi_value]`` of each; None for a multi_value that is not there."""
        if isinstance(said, (str, *NO_LIST)) or not hasattr(said, "__iter__"):
            raise Wrong(f"{self.call} returned {brief(said)}, not a list of feature configs")
        found = []
        for config in islice(said, self.limit + 1):
            for attribute in ("name", "values"):
                if not hasattr(config, attribute):
                    raise Wrong(f"{self.call} returned {brief(config)}, which has no {attribute}")
            name = self.text(config.name, "the name of a feature")
            multi = getattr(config, "multi_value", None)
            if multi is not None and not isinstance(multi, bool):
                raise Wrong(f"multi_value of {brief(name)} is {brief(multi)}, not true or false")
            found.append([name, self.strings(config.values, name), multi])
        return found

    def strings(self, said, where):
        if isinstance(said, str):
            said = [said]  # seen in the wild in place of a list
        if isinstance(said, NO_LIST) or not hasattr(said, "__iter__"):
            raise Wrong(f"{self.call} returned {brief(said)} for {brief(where)}, not strings")
        return [self.text(text, f"a value of {brief(where)}") for text in said]

    def text(self, said, what):
        if not isinstance(said, str):
            raise Wrong(f"{self.call} returned {brief(said)} as {what}, not a string")
        said = str.__str__(said)  # what it holds, where it is an enumeration's or its own kind
        if len(said) > 4096:
            raise Wrong(f"{self.call} returned a string of {len(said)} characters as {what}")
        self.limit -= 1
        self.room -= len(said)
        if self.limit < 0 or self.room < 0:
            raise Wrong(f"{self.call} returned too many values")
        return said


def plain(configs):
    """Configs in which what is not said about several values is no."""
    return configs and [[name, values, multi is True] for name, values, multi in configs]


def brief(value):
    """A value in words that fit a message, whatever its repr does."""
    try:
        text = ascii(value)
    except BaseException:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def load(reference):
    """The object that a reference names: a module, an instance, or a class."""
    module, _, path = reference.partition(":")
    found = importlib.import_module(module)
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found


def instance(found):
    """Classes of 2025 have methods and are instantiated; those since PEP 817 have class or
    static methods and are not.
    """
    if not isinstance(found, type):
        return found
    names = ("get_all_configs", "get_supported_configs", "get_build_setup", "validate_property")
    kinds = [
        next((vars(c)[name] for c in found.__mro__ if name in vars(c)), None) for name in names
    ]
    bound = (classmethod, staticmethod, type(None))
    return found if all(isinstance(kind, bound) for kind in kinds) else found()


def generation(plugin, everything):
    if not hasattr(plugin, "namespace"):
        return "2026"
    if any(multi is not None for _, _, multi in everything or ()):
        return "PEP 817"
    if hasattr(plugin, "validate_property"):
        return "2025-06"
    return "2025-04" if everything or hasattr(plugin, "get_build_setup") else "PEP 817"


def wants_an_argument(function):
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(one.kind in positional and one.default is one.empty for one in parameters)


def ask(number, request, folder, limit):
    """The answer of one plugin as JSON, or what it did instead."""
    asked = Asked(number, request, folder, limit)
    try:
        said = asked.answer()
    except Wrong as error:
        said = json.dumps({"error": str(error), "call": asked.call, "missing": False})
    except BaseException as error:  # SystemExit and KeyboardInterrupt are a plugin's fault too
        missing = isinstance(error, ModuleNotFoundError) and asked.call == "import"
        said = json.dumps({"error": words(error), "call": asked.call, "missing": missing})
        # Where a plugin is not installed, that says it all.
        if not (missing and f"{request['reference'].split(':')[0]}.".startswith(f"{error.name}.")):
            log(error)
    asked.only_here()
    return said


def words(error):
    """An exception in words, whatever its methods do."""
    said = []
    try:
        said.append(str.__str__(type(error).__name__))
        said.append(str.__str__(str(error))[:1000])
    except BaseException:
        said = said or ["an exception that can't be named"]
    return ": ".join(filter(None, said))


def log(error):
    try:
        import traceback

        traceback.print_exception(error)
    except BaseException:  # the plugin may have spoilt the stream
        pass


def put(folder, name, text):
    """Write a file, whole or not at all. A plugin may have removed the folder."""
    os.makedirs(folder, 0o700, exist_ok=True)
    part = os.path.join(folder, f"{name}.part")
    with open(part, "w", encoding="ascii") as file:
        file.write(text)
    os.replace(part, os.path.join(folder, name))

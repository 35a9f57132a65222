"""The calls to a plugin for :mod:`_host`, and the checks of its answers. Standard library only."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from itertools import islice

NO_LIST = (bytes, bytearray, dict, set, frozenset)
"""Types that can be iterated over but are not valid instead of a list."""


class Property:
    """A property as plugins get it."""

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


class InvalidAnswer(Exception):
    """A plugin's answer does not follow the interface."""


class PluginCalls:
    """The calls to one plugin."""

    def __init__(self, number, request, folder, limit):
        self.process = os.getpid()
        self.number = number
        self.request = request
        self.namespace = request["namespace"]
        self.folder = folder
        self.limit = limit
        self.characters = 20 * limit
        self.call = ""

    def enter(self, call):
        self.call = call
        self.exit_in_fork()
        write(self.folder, f"call-{self.number}", call)

    def exit_in_fork(self):
        """End a child process that the plugin forked and that returned from the call."""
        if os.getpid() != self.process:
            os._exit(0)

    def answer(self):
        self.enter("import")
        loaded = load(self.request["reference"])
        self.enter("its constructor")
        plugin = instance(loaded)
        self.enter("namespace")
        self.check_namespace(getattr(plugin, "namespace", None))
        everything = None
        if callable(getattr(plugin, "get_all_configs", None)):
            self.enter("get_all_configs")
            everything = self.configs(plugin.get_all_configs())
        elif not callable(getattr(plugin, "validate_property", None)):
            raise InvalidAnswer("it has neither get_all_configs nor validate_property")
        valid = [self.valid(plugin, everything, *pair) for pair in self.request["properties"]]
        pairs = self.request["setup"] if all(valid) else []
        answer = {
            "namespace": self.namespace,
            "generation": generation(plugin, everything),
            "version": version(self.request["distribution"]),
            "all": complete(everything),
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
            raise InvalidAnswer(f"its namespace is {brief(own)}, not a string")
        own = self.text(own, "its namespace")
        if self.namespace not in (None, own):
            raise InvalidAnswer(f"it has the namespace {brief(own)}, not {self.namespace!r}")
        self.namespace = own

    def valid(self, plugin, everything, feature, value):
        for name, values, _ in everything or ():
            if feature == name and value in values:
                return True
        if not callable(getattr(plugin, "validate_property", None)):
            return False
        self.enter("validate_property")
        valid = plugin.validate_property(Property(self.namespace, feature, value))
        if valid is not True and valid is not False:
            raise InvalidAnswer(f"validate_property returned {brief(valid)}, not true or false")
        return valid

    def supported(self, plugin, *, hint):
        """The configs that fit this machine. For a ``hint``, errors are ignored."""
        if not self.request["supported"] and not hint:
            return None
        self.enter("get_supported_configs")
        try:
            call = plugin.get_supported_configs
            # 2025-06: the argument has the properties of the available wheels; None means all.
            return complete(self.configs(call(None) if wants_an_argument(call) else call()))
        except BaseException:
            if self.request["supported"]:
                raise
            return None

    def compatible(self, plugin):
        self.enter("all_properties_compatible")
        # If a class inherits from a protocol, the attribute may be a property, which is not an answer.
        names = ("all_properties_compatible", "is_aot_plugin")
        return any(getattr(plugin, name, None) is True for name in names)

    def setup(self, plugin, pairs):
        if not pairs or not callable(getattr(plugin, "get_build_setup", None)):
            return {}
        self.enter("get_build_setup")
        setup = plugin.get_build_setup([Property(self.namespace, *pair) for pair in pairs])
        if not isinstance(setup, dict):
            raise InvalidAnswer(f"get_build_setup returned {brief(setup)}, not a dict")
        checked = {}
        for key, value in setup.items():
            name = self.text(key, "a key")
            checked[name] = self.strings(value, name)
        return checked

    def configs(self, value):
        """``[name, values, multi_value]`` of each config. A missing multi_value is None."""
        if isinstance(value, (str, *NO_LIST)) or not hasattr(value, "__iter__"):
            raise InvalidAnswer(
                f"{self.call} returned {brief(value)}, not a list of feature configs"
            )
        checked = []
        for config in islice(value, self.limit + 1):
            for attribute in ("name", "values"):
                if not hasattr(config, attribute):
                    raise InvalidAnswer(
                        f"{self.call} returned {brief(config)}, which has no {attribute}"
                    )
            name = self.text(config.name, "the name of a feature")
            multi = getattr(config, "multi_value", None)
            if multi is not None and not isinstance(multi, bool):
                raise InvalidAnswer(
                    f"multi_value of {brief(name)} is {brief(multi)}, not true or false"
                )
            checked.append([name, self.strings(config.values, name), multi])
        return checked

    def strings(self, value, key):
        if isinstance(value, str):
            value = [value]  # some plugins return a string instead of a list
        if isinstance(value, NO_LIST) or not hasattr(value, "__iter__"):
            raise InvalidAnswer(
                f"{self.call} returned {brief(value)} for {brief(key)}, not strings"
            )
        return [self.text(text, f"a value of {brief(key)}") for text in value]

    def text(self, value, what):
        if not isinstance(value, str):
            raise InvalidAnswer(f"{self.call} returned {brief(value)} as {what}, not a string")
        text = str.__str__(value)  # the content of an enumeration member or of another subclass
        if len(text) > 4096:
            raise InvalidAnswer(
                f"{self.call} returned a string of {len(text)} characters as {what}"
            )
        self.limit -= 1
        self.characters -= len(text)
        if self.limit < 0 or self.characters < 0:
            raise InvalidAnswer(f"{self.call} returned too many values")
        return text


def complete(configs):
    """The configs with false instead of a missing multi_value."""
    return configs and [[name, values, multi is True] for name, values, multi in configs]


def brief(value):
    """A value as a short text, even if its repr fails."""
    try:
        text = ascii(value)
    except BaseException:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


def load(reference):
    """The object that a reference names: a module, an instance, or a class."""
    module, _, path = reference.partition(":")
    loaded = importlib.import_module(module)
    for part in filter(None, path.split(".")):
        loaded = getattr(loaded, part)
    return loaded


def instance(loaded):
    """The plugin. Classes of 2025 have methods and are instantiated. Since PEP 817, classes have class or
    static methods and are used as they are.
    """
    if not isinstance(loaded, type):
        return loaded
    names = ("get_all_configs", "get_supported_configs", "get_build_setup", "validate_property")
    kinds = [
        next((vars(c)[name] for c in loaded.__mro__ if name in vars(c)), None) for name in names
    ]
    bound = (classmethod, staticmethod, type(None))
    return loaded if all(isinstance(kind, bound) for kind in kinds) else loaded()


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
    return any(p.kind in positional and p.default is p.empty for p in parameters)


def ask(number, request, folder, limit):
    """The answer of one plugin as JSON, or its error."""
    calls = PluginCalls(number, request, folder, limit)
    try:
        answer = calls.answer()
    except InvalidAnswer as error:
        answer = json.dumps({"error": str(error), "call": calls.call, "missing": False})
    except BaseException as error:  # including SystemExit and KeyboardInterrupt of a plugin
        missing = isinstance(error, ModuleNotFoundError) and calls.call == "import"
        answer = json.dumps({"error": describe(error), "call": calls.call, "missing": missing})
        # If the plugin is not installed, the message is enough.
        if not (missing and f"{request['reference'].split(':')[0]}.".startswith(f"{error.name}.")):
            log(error)
    calls.exit_in_fork()
    return answer


def describe(error):
    """The name and message of an exception, even if its methods fail."""
    texts = []
    try:
        texts.append(str.__str__(type(error).__name__))
        texts.append(str.__str__(str(error))[:1000])
    except BaseException:
        texts = texts or ["an exception that can't be named"]
    return ": ".join(filter(None, texts))


def log(error):
    try:
        import traceback

        traceback.print_exception(error)
    except BaseException:  # the plugin may have damaged the stream
        pass


def write(folder, name, text):
    """Write a file completely or not at all. The plugin may have removed the folder."""
    os.makedirs(folder, 0o700, exist_ok=True)
    part = os.path.join(folder, f"{name}.part")
    with open(part, "w", encoding="ascii") as file:
        file.write(text)
    os.replace(part, os.path.join(folder, name))


def version(distribution):
    """The version of an installed distribution; None if it is unknown."""
    if distribution is None:
        return None
    try:
        # The import of importlib.metadata takes longer than the rest of a query.
        return version_in_path(distribution) or other_version(distribution)
    except Exception:
        return None


def version_in_path(distribution):
    normalized = normalize(distribution)
    for folder in filter(os.path.isdir, sys.path):
        for name in os.listdir(folder):
            stem, suffix, rest = name.partition(".dist-info")
            if suffix and not rest and normalize(stem.partition("-")[0]) == normalized:
                with open(os.path.join(folder, name, "METADATA"), encoding="utf-8") as file:
                    for line in iter(file.readline, "\n"):
                        if not line:
                            break
                        if line.lower().startswith("version:"):
                            return line.partition(":")[2].strip()
    return None


def other_version(distribution):
    """The version of a distribution that is not a .dist-info folder, such as an egg."""
    from importlib.metadata import version as installed_version

    return str(installed_version(distribution))


def normalize(name):
    """The normalized name of a distribution (PEP 503)."""
    return re.sub("[-_.]+", "-", name).lower()

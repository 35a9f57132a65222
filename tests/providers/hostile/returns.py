"""Returns one thing from one call: ``POLYWHEEL_TEST_RETURNS`` is ``CALL: THING``."""

import itertools
import os
from enum import Enum

from hostile import Config, Good


class Word(str):
    """A string that lies about itself."""

    __slots__ = ()

    def __str__(self):
        return "another"

    def __len__(self):
        return 1

    __repr__ = __str__


class Feature(str, Enum):
    LEVEL = "level"


class Lazy:
    name = "level"

    @property
    def values(self):
        raise LookupError("not at home")


class Pretends:
    """Says that it is a string."""

    __class__ = str

    def __repr__(self):
        raise SystemExit(0)


class Silent:
    def __repr__(self):
        raise KeyboardInterrupt


class Endless(dict):
    def items(self):
        return ((f"key{number}", []) for number in itertools.count())


def values(*found):
    return [Config(values=found[0] if len(found) == 1 else list(found))]


def names(name):
    return [Config(name=name)]


ESCAPE = "v\x1b[31m1"
THINGS = {
    "none": lambda: None,
    "an int": lambda: 5,
    "a string": lambda: "level",
    "bytes": lambda: b"level",
    "a set": lambda: {"v1", "v2"},
    "dicts": lambda: [{"name": "level", "values": ["v1"]}],
    "strings": lambda: ["level"],
    "nested": lambda: [[Config()]],
    "a silent one": lambda: [Silent()],
    "a class": lambda: Config,
    "endless configs": lambda: (Config(name=f"f{number}") for number in itertools.count()),
    "endless empty configs": lambda: (Config(f"f{n}", []) for n in itertools.count()),
    "raises later": lambda: (1 / 0 for _ in range(3)),
    "exits later": lambda: (exit() for _ in range(3)),
    "no configs": lambda: [],
    "a feature twice": lambda: [Config(), Config()],
    "a value twice": lambda: values("v1", "v1"),
    "no values": lambda: [Config(values=[])],
    "values none": lambda: values(None),
    "values int": lambda: values(5),
    "values bytes": lambda: values(b"v1"),
    "values dict": lambda: values({"v1": 1}),
    "values set": lambda: values({"v1", "v2"}),
    "values of ints": lambda: values(1, 2),
    "values of bytes": lambda: values(b"v1", b"v2"),
    "values nested": lambda: values(["v1"], ["v2"]),
    "values endless": lambda: values(f"v{number}" for number in itertools.count()),
    "values ten million": lambda: values(["v1"] * 10_000_000),
    "values long": lambda: values(["v" * 100_000_000]),
    "values many and long": lambda: values([f"{n:04000}" for n in range(1000)]),
    "values lazy": lambda: [Lazy()],
    "values pretending": lambda: values(Pretends(), Pretends()),
    "value escape": lambda: values(ESCAPE, "v2"),
    "value surrogate": lambda: values("\ud800", "v2"),
    "value newline": lambda: values("v1\n", "v2"),
    "value capital": lambda: values("V1", "v2"),
    "value empty": lambda: values("", "v2"),
    "name none": lambda: names(None),
    "name escape": lambda: names("le\x1bvel"),
    "name not ascii": lambda: names("lével"),
    "name surrogate": lambda: names("\udcff"),
    "name empty": lambda: names(""),
    "name with dot": lambda: names("a.b"),
    "name of a long word": lambda: names("level" * 1000),
    "multi_value text": lambda: [Config(multi_value="no")],
    "words": lambda: [Config(Word("level"), [Word("v1"), Word("v2"), Word("v3")])],
    "an enumeration": lambda: [Config(name=Feature.LEVEL)],
    "tuples and generators": lambda: (Config(values=(v for v in ("v1", "v2", "v3"))),),
    "a single string": lambda: [Config(values="v2")],
    # of get_build_setup
    "key int": lambda: {5: ["-O2"]},
    "key escape": lambda: {"cfl\x1bags": ["-O2"]},
    "flags none": lambda: {"cflags": None},
    "flags of ints": lambda: {"cflags": [1]},
    "flags nested": lambda: {"cflags": [["-O2"]]},
    "flags with nul": lambda: {"cflags": ["-O2\x00"]},
    "flags with newline": lambda: {"cflags": ["-O2\n-O3"]},
    "flags surrogate": lambda: {"cflags": ["\ud800"]},
    "flags escape": lambda: {"cflags": ["\x1b]0;title\x07"]},
    "flags endless": lambda: {"cflags": (f"-D{n}" for n in itertools.count())},
    "keys endless": Endless,
    "flags string": lambda: {"cflags": "-O2"},
    "flags with blanks": lambda: {"cflags": ["-I", "a folder é"], "other": ("x",)},
    # of validate_property
    "yes": lambda: "yes",
    "one": lambda: 1,
    "true": lambda: True,
}

CALL, _, THING = os.environ.get("POLYWHEEL_TEST_RETURNS", ": ").partition(": ")


class Plugin(Good):
    def get_all_configs(self):
        return self._said("get_all_configs")

    def validate_property(self, variant_property):
        return self._said("validate_property", variant_property)

    def get_supported_configs(self):
        return self._said("get_supported_configs")

    def get_build_setup(self, properties):
        return self._said("get_build_setup", properties)

    def _said(self, call, *arguments):
        if call == CALL:
            return THINGS[THING]()
        return getattr(Good, call)(self, *arguments)


if CALL == "namespace":
    Plugin.namespace = {**THINGS, "another": lambda: "even", "words": lambda: Word("odd")}[THING]()

"""Objects of odd shapes."""

import itertools
from unittest.mock import MagicMock

from hostile import Good


class Meta(type):
    def __getattribute__(cls, name):
        raise RuntimeError("nothing of me is yours")


class Guarded(Good, metaclass=Meta):
    pass


class NamelessMeta(type):
    @property
    def __name__(cls):
        raise SystemExit(0)


class Nameless(Exception, metaclass=NamelessMeta):
    pass


class RaisesNameless(Good):
    def get_all_configs(self):
        raise Nameless


class CallMeta(type):
    def __call__(cls, *arguments):
        return 5


class MakesAnInt(Good, metaclass=CallMeta):
    pass


class NeedsArguments(Good):
    def __init__(self, where, /, *, how):
        pass


class RaisesOnAccess(Good):
    @property
    def get_build_setup(self):
        raise OSError("no access")


class HasNothing:
    pass


class HasNoSupported(Good):
    get_supported_configs = property()


class HasNoList(Good):
    get_all_configs = "a string"
    validate_property = None


class EverythingIsThere:
    def __getattr__(self, name):
        return self

    def __call__(self, *arguments):
        return self

    def __iter__(self):
        return itertools.repeat(self)


mock = MagicMock()
mock_of_a_namespace = MagicMock(namespace="odd")
everything = EverythingIsThere()
nothing = None
number = 5


def function():
    return Good()

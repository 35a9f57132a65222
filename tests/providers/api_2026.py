"""A plugin of 2026: as PEP 817, and it does not say its namespace."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    name: str
    values: list
    multi_value: bool


all_properties_compatible = True


def get_all_configs():
    return [Config("level", ["v3", "v2", "v1"], False), Config("arch", ["80", "90"], True)]


def get_supported_configs():
    return [Config("arch", ["90"], True), Config("level", ["v2", "v1"], False)]


class Plugin:
    all_properties_compatible = True

    def __init__(self, something):
        raise RuntimeError("plugins since PEP 817 are not instantiated")

    @classmethod
    def get_all_configs(cls):
        return get_all_configs()

    @staticmethod
    def get_supported_configs():
        return get_supported_configs()


class _Instance:
    all_properties_compatible = True

    def get_all_configs(self):
        return get_all_configs()

    def get_supported_configs(self):
        return get_supported_configs()


plugin = _Instance()


class Outer:
    class Inner(Plugin):
        pass


class Protocol:
    """What a plugin may derive from: its attributes are properties, of instances."""

    @property
    def all_properties_compatible(self):
        return False


class Derived(Protocol):
    @classmethod
    def get_all_configs(cls):
        return get_all_configs()

    @classmethod
    def get_supported_configs(cls):
        return get_supported_configs()


class Bilingual(Plugin):
    """For older readers too."""

    namespace = "autumn"

    @classmethod
    def validate_property(cls, variant_property):
        return variant_property.value == "v4"

    @classmethod
    def get_build_setup(cls, properties):
        return {"cflags": ["-mbilingual"]}


class Meta(type):
    def get_all_configs(cls):
        return get_all_configs()

    def get_supported_configs(cls):
        return get_supported_configs()


class ByItsMetaclass(metaclass=Meta):
    pass

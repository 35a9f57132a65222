"""A plugin of 2025-06: judges properties, and is told which ones the wheels at hand have."""

from collections import namedtuple

Config = namedtuple("Config", "name values")
namespace = "summer"


def validate_property(variant_property):
    assert variant_property.namespace == namespace
    assert {variant_property: 1}[variant_property] == 1
    return variant_property.feature == "level" and variant_property.value in {"v1", "v2", "v3"}


def get_supported_configs(known_properties):
    assert known_properties is None
    return [Config("level", ["v2", "v1"])]


def get_build_setup(properties):
    return {"cflags": [f"-mlevel={p.value}" for p in properties]}


class Plugin:
    namespace = "summer"
    is_aot_plugin = True

    def validate_property(self, variant_property):
        return validate_property(variant_property)

    def get_supported_configs(self, known_properties):
        return get_supported_configs(known_properties)

    def get_build_setup(self, properties):
        return get_build_setup(properties)


class WithoutArgument(Plugin):
    """Of the time between: the argument was not there yet, or had a default."""

    def get_supported_configs(self, known_properties=()):
        assert known_properties == ()
        return get_supported_configs(None)


plugin = Plugin()


class Outer:
    class Inner(Plugin):
        pass

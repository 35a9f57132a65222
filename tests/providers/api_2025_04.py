"""A plugin of 2025-04: instantiated, lists what it knows, configs say nothing of several values."""

from collections import namedtuple

Config = namedtuple("Config", "name values")
namespace = "spring"


def get_all_configs():
    # The single string in place of a list is seen in the wild.
    return [Config("level", ["v1", "v2", "v3"]), Config("simd", "on")]


def get_supported_configs():
    return [Config("level", ["v2", "v1"])]


def get_build_setup(properties):
    levels = [p.value for p in properties if p.feature == "level"]
    return {"cflags": [f"-mlevel={value}" for value in levels], "ldflags": "-Wl,-O1"}


class Plugin:
    namespace = "spring"

    def get_all_configs(self):
        return get_all_configs()

    def get_supported_configs(self):
        return get_supported_configs()

    def get_build_setup(self, properties):
        return get_build_setup(properties)


plugin = Plugin()


class Outer:
    class Inner(Plugin):
        pass

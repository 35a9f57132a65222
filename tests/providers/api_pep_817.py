"""A plugin of PEP 817: class methods, no build setup, configs say whether several values go."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    name: str
    values: list
    multi_value: bool


namespace = "winter"
is_aot_plugin = True


def get_all_configs():
    return [Config("level", ["v3", "v2", "v1"], False), Config("arch", ["80", "90"], True)]


def get_supported_configs():
    return [Config("arch", ["90"], True), Config("level", ["v2", "v1"], False)]


class Plugin:
    namespace = "winter"
    is_aot_plugin = True

    def __init__(self, something):
        raise RuntimeError("plugins since PEP 817 are not instantiated")

    @classmethod
    def get_all_configs(cls):
        return get_all_configs()

    @staticmethod
    def get_supported_configs():
        return get_supported_configs()


class _Instance:
    namespace = "winter"
    is_aot_plugin = True

    def get_all_configs(self):
        return get_all_configs()

    def get_supported_configs(self):
        return get_supported_configs()


plugin = _Instance()


class Outer:
    class Inner(Plugin):
        pass

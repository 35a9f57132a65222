"""A plugin whose properties are all compatible everywhere: it may fill static properties."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    name: str
    values: list
    multi_value: bool


class Season:
    all_properties_compatible = True

    @classmethod
    def get_all_configs(cls):
        return [Config("weather", ["rain", "sun"], True), Config("time", ["summer", "winter"], False)]

    get_supported_configs = get_all_configs

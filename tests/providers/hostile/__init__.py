"""Plugins that misbehave. Each is a good one with something added or replaced."""

from dataclasses import dataclass, field


@dataclass
class Config:
    name: str = "level"
    values: list = field(default_factory=lambda: ["v1", "v2", "v3"])
    multi_value: bool = False


class Good:
    """Instantiated, with every call of every generation."""

    namespace = "odd"

    def get_all_configs(self):
        return [Config()]

    def validate_property(self, variant_property):
        return variant_property.feature == "extra"

    def get_supported_configs(self):
        return [Config(values=["v2", "v1"])]

    def get_build_setup(self, properties):
        return {"cflags": [f"-m{p.feature}={p.value}" for p in properties]}

"""Judges properties, of which it likes none, and has no list."""

from hostile.returns import Plugin as Returns


class Plugin:
    namespace = "odd"

    def validate_property(self, variant_property):
        return False

    def get_supported_configs(self, known_properties):
        return Returns().get_supported_configs()

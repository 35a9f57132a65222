"""One wheel, looked at from all sides: its name, METADATA, variant.json, WHEEL and RECORD."""

from polywheel.examined.changed import refuse_disagreements
from polywheel.examined.parts import Examined
from polywheel.examined.reading import examine

__all__ = ["Examined", "examine", "refuse_disagreements"]

"""One cell of a matrix, and what every step of an expansion looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from polywheel.config.reader import Problems
from polywheel.matrix.labels import Labels
from polywheel.matrix.places import Place
from polywheel.model.matrix import Matrix
from polywheel.model.plan import Removal
from polywheel.model.properties import VariantProperty


class Cell:
    """One wheel that the matrix asks for; what an include adds goes into it, unless it is closed."""

    __slots__ = ("at", "axes", "closed", "label", "place", "properties", "values")

    def __init__(
        self,
        place: Place,
        *,
        label: str | None,
        properties: Iterable[VariantProperty],
        axes: Mapping[str, str],
        at: str,
        closed: bool = False,
    ) -> None:
        self.place = place
        self.closed = closed
        self.label = label
        self.properties = tuple(sorted(set(properties)))
        self.axes = axes
        self.at = at
        self.values = {**axes, "python": place.python, "target": place.target.name}
        """What patterns are held against: as the cell was made, whatever is included later."""
        if label is not None:
            self.values["label"] = label

    def removed(self, by: str, at: str) -> Removal:
        place = self.place
        return Removal(
            label=self.label,
            axes=self.axes,
            python=place.python,
            target=place.target.name,
            by=by,
            at=at,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What every step of an expansion looks at, and where it notes what it finds."""

    matrix: Matrix
    places: Sequence[Place]
    labels: Labels
    problems: Problems
    removed: list[Removal]
    held: dict[str, frozenset[Place]]
    """Where the values that have a ``when`` exist, by their key path."""

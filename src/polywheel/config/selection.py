"""The config settings of polywheel: they select the variant of a build."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from polywheel.config.reader import Problems, type_name
from polywheel.errors import ConfigError, closest, nearest
from polywheel.model.variant import NULL_LABEL, VariantProperty, check_label

ConfigSettings = Mapping[str, str | Sequence[str]]
"""As PEP 517 frontends pass them: a list if a key was given several times."""

_PROPERTY_KEYS = ("variant", "variant-name", "variant-property")
KEYS = (*_PROPERTY_KEYS, "variant-label", "null-variant", "variant-filename")
"""The config settings that polywheel consumes."""
_YES = ("", "1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")
_FILENAMES = ("label", "unlabelled")
"""``plain``, as ``unlabelled`` was called, is still read."""


def parse_config_settings(texts: Iterable[str]) -> dict[str, str | list[str]]:
    """The config settings of options ``-CKEY=VALUE``. A repeated key has a list. Raises ConfigError."""
    by_key: dict[str, list[str]] = {}
    for text in texts:
        key, assigned, value = text.partition("=")
        if not key or not assigned:
            what = f"malformed config setting {text!r}"
            raise ConfigError(what, at="-C", hint="write -CKEY=VALUE")
        by_key.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in by_key.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The selected variant. ``filename`` is ``label``, ``unlabelled``, or None if it was not given."""

    properties: tuple[VariantProperty, ...] = ()
    label: str | None = None
    null: bool = False
    filename: str | None = None
    property_key: str = "variant"
    """The config setting that has the properties; the first one, if there are several."""

    @property
    def asks_for_variant(self) -> bool:
        return bool(self.properties or self.label is not None or self.null)


def spelling_of_setting(key: str) -> str:
    return f"config setting {key}"


def parse_selection(
    settings: ConfigSettings | None, *, spelling: Callable[[str], str] = spelling_of_setting
) -> tuple[Selection, ConfigSettings | None]:
    """Split config settings into what polywheel consumes and what is the real backend's.

    The second is None if the frontend gave None. ``spelling`` says how the user spelt a key, for messages.
    Raises ConfigError with everything that is malformed or contradictory.
    """
    if settings is None:
        return Selection(), None
    problems = Problems()
    for key in settings:
        _refuse_misspelling(key, problems)
    values = {key: _texts(settings.get(key, ()), spelling(key), problems) for key in KEYS}
    kinds = values["variant-filename"]
    values["variant-filename"] = ["unlabelled" if kind == "plain" else kind for kind in kinds]
    properties = [
        problems.attempt(VariantProperty.parse, text, at=spelling(key))
        for key in _PROPERTY_KEYS
        for value in values[key]
        for text in value.split(",")
    ]
    labels = values["variant-label"]
    if len(labels) > 1:
        problems.add(
            f"{len(labels)} different labels: {', '.join(map(repr, labels))}",
            at=spelling("variant-label"),
            hint="one build creates one variant; run one build for each label",
        )
    for label in labels:
        problems.attempt(check_label, label, at=spelling("variant-label"))
    for key, known in (("null-variant", (*_YES, *_NO)), ("variant-filename", _FILENAMES)):
        _check_choice(values[key], known, spelling(key), problems)
    selection = Selection(
        properties=tuple(prop for prop in dict.fromkeys(properties) if prop is not None),
        label=next(iter(labels), None),
        null=bool(values["null-variant"]) and values["null-variant"][0] in _YES,
        filename=next(iter(values["variant-filename"]), None),
        property_key=next((key for key in _PROPERTY_KEYS if values[key]), _PROPERTY_KEYS[0]),
    )
    _check_contradictions(selection, problems, spelling)
    problems.raise_all()
    return selection, {key: value for key, value in settings.items() if key not in KEYS}


def _refuse_misspelling(key: str, problems: Problems) -> None:
    """A misspelt key would go to the real backend, and the build would create a non-variant wheel."""
    if key in KEYS:
        return
    plain = key.lower().replace("_", "-")
    if plain.startswith(("variant", "null-variant")) or closest(plain, KEYS, cutoff=0.85):
        problems.add(
            f"unknown config setting {key!r}",
            at=spelling_of_setting(key),
            hint=nearest(plain, KEYS),
        )


def _texts(value: object, at: str, problems: Problems) -> list[str]:
    """The different texts of a config setting. Adds a problem for a value of another type."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        value = [value]
    texts: dict[str, None] = {}
    for item in value:
        if isinstance(item, bool):  # frontends that take JSON have booleans
            texts[str(item).lower()] = None
        elif isinstance(item, str):
            texts[item] = None
        else:
            problems.add(f"expected a string, found {type_name(item)}", at=at)
    return list(texts)


def _check_choice(values: list[str], known: Iterable[str], at: str, problems: Problems) -> None:
    if len(values) > 1:
        problems.add(f"conflicting values: {', '.join(map(repr, values))}", at=at)
    for value in values:
        if value not in known:
            hint = "known: " + ", ".join(filter(None, known))
            problems.add(f"unknown value {value!r}", at=at, hint=hint)


def _check_contradictions(
    selection: Selection, problems: Problems, spelling: Callable[[str], str]
) -> None:
    if selection.null and selection.properties:
        problems.add(
            "the null variant has no properties, but some were given: "
            + ", ".join(map(str, selection.properties)),
            at=spelling("null-variant"),
            hint=f"remove {spelling('null-variant')} or the properties",
        )
    if selection.null and selection.label not in (None, NULL_LABEL):
        problems.add(
            f"the label of the null variant is always 'null', not {selection.label!r}",
            at=spelling("variant-label"),
        )
    if selection.properties and selection.label == NULL_LABEL:
        problems.add(
            "the label 'null' is reserved for the variant without properties",
            at=spelling("variant-label"),
            hint="choose another label, or remove the properties",
        )


def refuse_variant_settings(settings: Mapping[str, str | Sequence[str]], *, at: str) -> None:
    """Raise ConfigError for config settings that select a variant: the matrix does so."""
    _, for_backend = parse_selection(settings)
    ours = [key for key in settings if key not in (for_backend or {})]
    if ours:
        raise ConfigError(
            f"unexpected config setting {', '.join(ours)}: the matrix defines variants and filenames",
            at=at,
            hint="select jobs with --select",
        )

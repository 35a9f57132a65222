"""The variant that a selection names, with the label that it has in the project and its matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from polywheel.config.project import Project
from polywheel.config.reader import Problems
from polywheel.config.selection import Selection, spelling_of_setting
from polywheel.errors import ConfigError, nearest
from polywheel.model.variant import NULL_LABEL, Variant, VariantMetadata, VariantProperty


def resolve_variant(
    selection: Selection,
    project: Project,
    *,
    expand_matrix: bool = True,
    spelling: Callable[[str], str] = spelling_of_setting,
) -> Variant:
    """Return the selected variant. The matrix is expanded only if its labels may matter.

    ``spelling`` says how the user spelt a config setting, for messages. Raises ConfigError.
    """
    metadata, label = project.metadata, selection.label
    properties = tuple(sorted(set(selection.properties)))
    if properties:
        declared = [v.label for v in metadata.variants.values() if v.properties == properties]
        decided = bool(declared) if label is None else label in declared
    else:
        decided = selection.null or label == NULL_LABEL or label in metadata.variants
    if expand_matrix and project.settings.has_matrix and not decided:
        from polywheel.matrix.expansion import matrix_variants

        variants = {**matrix_variants(project, properties), **metadata.variants}
        metadata = replace(metadata, variants=variants)
    return resolve(selection, metadata, spelling=spelling)


def resolve(
    selection: Selection,
    metadata: VariantMetadata,
    *,
    spelling: Callable[[str], str] = spelling_of_setting,
) -> Variant:
    """The selected variant, checked against the declarations of the project.

    Without a label, the properties of a declared variant get its label, and other properties get the hash.
    ``spelling`` says how the user spelt a key, for messages. Raises ConfigError for an unknown property or
    label, and if a label has several sets of properties, or a set of properties has several labels.
    """
    if selection.null:
        return Variant.of(())
    properties_at = spelling(selection.property_key)
    at = spelling("variant-label") if selection.label is not None else properties_at
    if selection.label is not None and not selection.properties:
        if selection.label == NULL_LABEL:
            return Variant.of(())
        if selection.label not in metadata.variants:
            known = (*metadata.variants, NULL_LABEL) if metadata.variants else ()
            raise ConfigError(
                f"no variant with the label {selection.label!r} is declared",
                at=at,
                hint=nearest(selection.label, known)
                or "declare it under [variant.variants], or give its properties "
                f"({spelling('variant')})",
            )
        variant = metadata.variants[selection.label]
        _only_label(variant.properties, metadata, at=at)
        return variant
    problems = Problems()
    for prop in selection.properties:
        problems.attempt(metadata.check, prop, at=properties_at)
    problems.raise_all()
    variant = Variant.of(selection.properties, selection.label, at=at)
    namesake = metadata.variants.get(variant.label)
    if namesake is not None and namesake.properties != variant.properties:
        raise ConfigError(
            f"the label {variant.label!r} is declared with other properties: "
            + ", ".join(map(str, namesake.properties)),
            at=at,
            hint="one label stands for one set of properties; choose another label",
        )
    declared = _only_label(variant.properties, metadata, at=at)
    if declared is None:
        return variant
    if selection.label not in {None, declared}:
        raise ConfigError(
            f"these properties are declared with the label {declared!r}, not {selection.label!r}",
            at=at,
            hint="one set of properties has one label in a release; remove the label, or "
            "change the declaration",
        )
    return metadata.variants[declared]


def _only_label(
    properties: tuple[VariantProperty, ...], metadata: VariantMetadata, *, at: str
) -> str | None:
    """The label declared for these properties. Raises ConfigError if there are several."""
    labels = [
        label for label, variant in metadata.variants.items() if variant.properties == properties
    ]
    if len(labels) > 1:
        raise ConfigError(
            f"the same properties are declared with several labels: {', '.join(labels)}",
            at=at,
            hint="one set of properties has one label in a release; keep one of them",
        )
    return labels[0] if labels else None

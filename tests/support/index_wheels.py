"""Folders of small variant wheels, for the tests of the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from polywheel.formats.metadata import variant_fields, with_variant_fields
from polywheel.formats.variant_json import variant_json
from polywheel.model.variant import Provider, Variant, VariantMetadata, VariantProperty
from support.wheels import row, zipped

PROVIDERS = {
    "x86_64": Provider(namespace="x86_64", requires=("x86-64-variant-provider",)),
    "blas": Provider(
        namespace="blas", static_properties=MappingProxyType({"library": ("mkl", "openblas")})
    ),
}
V1, V2 = "x86_64 :: level :: v1", "x86_64 :: level :: v2"
MKL = "blas :: library :: mkl"


def declared(
    *namespaces: str, providers: dict[str, Provider] | None = None, variants: Iterable[Variant] = ()
) -> VariantMetadata:
    """The metadata of a project: with both namespaces if none is given."""
    names = namespaces or ("x86_64", "blas")
    return VariantMetadata(
        namespaces=names,
        providers=MappingProxyType(
            {name: PROVIDERS[name] for name in names} if providers is None else providers
        ),
        variants=MappingProxyType({one.label: one for one in variants}),
    )


def variant(label: str | None, *properties: str) -> Variant:
    return Variant.of([VariantProperty.parse(text) for text in properties], label)


def write_wheel(
    folder: Path,
    what: Variant | None = None,
    *,
    name: str = "demo",
    version: str = "1.0",
    tag: str = "py3-none-any",
    metadata: VariantMetadata | None = None,
    headers: str = "",
    document: bytes | None = None,
    fields: bool = True,
    filename: str | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """A wheel of a variant, or a non-variant one, with ``files``, or one module that says which it is.

    ``document`` stands in for its variant.json; empty, there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{headers}".encode()
    module = {f"{name}.py": f"variant = {what.label if what else None!r}\n".encode()}
    members = {**(module if files is None else files)}
    if what is not None:
        known = metadata or declared()
        if fields:
            content = with_variant_fields(content, variant_fields(what, known))
        document = variant_json(what, known) if document is None else document
    members |= {
        f"{info}/METADATA": content,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if document:
        members[f"{info}/variant.json"] = document
    rows = [row(path, data) for path, data in members.items()]
    members[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    label = f"-{what.label}" if what is not None else ""
    path = folder / (filename or f"{name}-{version}-{tag}{label}.whl")
    path.write_bytes(zipped(members))
    return path


def listing(folder: Path) -> list[str]:
    """The files below a folder, without wheels and the list of written files."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".whl" and not path.name.startswith(".")
    )

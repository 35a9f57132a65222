"""The wheel that a system gets, and the reasons against the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from polywheel.errors import ConfigError, WheelError
from polywheel.index.resolve.candidates import (
    CandidateFile,
    CandidateRelease,
    FolderSource,
    Inspection,
    ReleaseVariants,
    find_project_page,
    find_releases,
)
from polywheel.index.resolve.resolver import Resolution, Resolver
from polywheel.index.resolve.support import find_support
from polywheel.index.resolve.systems import System, marker_environment, supported_tags, this_machine
from polywheel.index.resolve.web import Link
from polywheel.model.variant import Provider, Variant, VariantMetadata
from support.uv_releases import write_wheel

PLUGIN = {"requires": ["x86-64-variant-provider"]}
STATIC = {"static-properties": {"library": ["openblas", "mkl"]}}
LEVEL_V2 = {"x86_64": {"level": ["v2"]}}


class Shelf:
    """Files that are nowhere but here."""

    at = "shelf"

    def __init__(
        self,
        filenames: Iterable[str],
        documents: Mapping[str, Mapping[str, Any]] | None = None,
        **links: Any,
    ) -> None:
        self.documents = {name: json.dumps(one).encode() for name, one in (documents or {}).items()}
        self._links = [
            Link(filename=name, url=name, **links) for name in (*filenames, *self.documents)
        ]

    def links(self) -> list[Link]:
        return self._links

    def variants_json(self, link: Link) -> bytes:
        return self.documents[link.filename]

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        return ReleaseVariants(None, self.at, f"there is no file for {release}")

    def inspect(self, _: CandidateFile, __: Variant | None, /) -> Inspection:
        return Inspection()


def document(
    variants: Mapping[str, Any],
    *,
    namespaces: Sequence[str] = ("x86_64",),
    providers: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": list(namespaces)},
        "providers": providers or dict.fromkeys(namespaces, PLUGIN),
        "variants": dict(variants),
    }


def system(
    supported: Mapping[str, Mapping[str, Sequence[str]]] | None = None, **others: Any
) -> System:
    python = Version("3.12.0")
    return System(
        name="test",
        at="test.toml",
        python=python,
        tags=supported_tags(python, "manylinux_2_28_x86_64", free_threaded=False),
        environment=marker_environment(python, "manylinux_2_28_x86_64"),
        supported=supported or {},
        **others,
    )


V2 = system({"x86_64": {"level": ["v2", "v1"]}})


def resolve(shelf: Shelf, on: System = V2, specifier: str = "") -> Resolution:
    return Resolver(shelf, find_releases(shelf), specifier=SpecifierSet(specifier)).resolve(on)


def rejections(given: Resolution, release: int = -1) -> dict[str, list[str]]:
    return {one.file.filename: list(one.reasons) for one in given.releases[release].rejected}


def only_reason(shelf: Shelf, on: System = V2) -> str:
    """Why the one variant wheel of a release is rejected."""
    ((_, (reason,)),) = rejections(resolve(shelf, on)).items()
    return reason


def one_variant(properties: Mapping[str, Any], **others: Any) -> Shelf:
    return Shelf(
        ["demo-1.0-py3-none-any-x.whl"],
        {"demo-1.0-variants.json": document({"x": properties}, **others)},
    )


def test_groups_then_tags_then_builds() -> None:
    shelf = Shelf(
        [
            "demo-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
            "demo-1.0-py3-none-any.whl",
            "demo-1.0-cp312-cp312-manylinux_2_28_x86_64-null.whl",
            "demo-1.0-py3-none-any-v1.whl",
            "demo-1.0-2-py3-none-any-v2.whl",
            "demo-1.0-10-py3-none-any-v2.whl",
            "demo-1.0-10b-py3-none-any-v2.whl",
            "demo-1.0-py3-none-any-v2.whl",
            "demo-1.0-py2.py3-none-manylinux1_x86_64.manylinux_2_28_x86_64-v2.whl",
        ],
        {
            "demo-1.0-variants.json": document(
                {"null": {}, "v2": LEVEL_V2, "v1": {"x86_64": {"level": ["v1"]}}}
            )
        },
    )
    (ranked,) = resolve(shelf).releases
    assert [file.filename.removeprefix("demo-1.0-") for file in ranked.fitting] == [
        "py2.py3-none-manylinux1_x86_64.manylinux_2_28_x86_64-v2.whl",
        "10b-py3-none-any-v2.whl",
        "10-py3-none-any-v2.whl",
        "2-py3-none-any-v2.whl",
        "py3-none-any-v2.whl",
        "py3-none-any-v1.whl",
        "cp312-cp312-manylinux_2_28_x86_64-null.whl",
        "cp312-cp312-manylinux_2_28_x86_64.whl",
        "py3-none-any.whl",
    ]
    assert not ranked.rejected


def test_the_reason_of_the_issue() -> None:
    v4 = {"x86_64": {"level": ["v4"]}}
    assert only_reason(one_variant(v4)) == "x86_64 :: level :: v4 is not supported"


def test_every_reason_is_told() -> None:
    shelf = Shelf(
        ["demo-1.0-cp311-cp311-win_amd64-x.whl"],
        {
            "demo-1.0-variants.json": document(
                {"x": {"x86_64": {"level": ["v4"]}, "gpu": {"arch": ["a", "b"]}}},
                namespaces=("x86_64", "gpu"),
            )
        },
        yanked="broken",
    )
    assert rejections(resolve(shelf)) == {
        "demo-1.0-cp311-cp311-win_amd64-x.whl": [
            (
                "none of gpu :: arch :: a, gpu :: arch :: b is supported: "
                "the description has no [supported.gpu]"
            ),
            "x86_64 :: level :: v4 is not supported",
            "its platform win_amd64 does not fit cp312-cp312-manylinux_2_28_x86_64",
            "it is yanked: broken",
        ]
    }


@pytest.mark.parametrize(
    ("filename", "reason"),
    [
        ("py3-none-win32", "its platform win32"),
        ("cp313-cp313-manylinux_2_28_x86_64", "its Python cp313"),
        ("cp312-cp312d-manylinux_2_28_x86_64", "its ABI cp312d"),
        ("cp311-cp312-manylinux_2_28_x86_64", "its tags cp311-cp312-manylinux_2_28_x86_64"),
    ],
)
def test_tags_that_do_not_fit(filename: str, reason: str) -> None:
    said = only_reason(Shelf([f"demo-1.0-{filename}.whl"]))
    assert said.startswith(reason)
    assert said.endswith("not fit cp312-cp312-manylinux_2_28_x86_64")


def test_a_name_that_stands_for_too_many_tags_fits_nowhere() -> None:
    many = ".".join(f"py3{number}" for number in range(12))
    platforms = ".".join(["any", *(f"p{number}" for number in range(50))])
    assert (
        not resolve(Shelf([f"demo-1.0-{many}.py3-{many}.none-{platforms}.whl"])).releases[0].fitting
    )


def test_requires_python_and_yanking() -> None:
    wheel = ["demo-1.0-py3-none-any.whl"]
    reason = only_reason(Shelf(wheel, requires_python=">=3.13"))
    assert reason == "it requires Python >=3.13, and this is 3.12.0"
    assert resolve(Shelf(wheel, requires_python=">=3.12")).chosen
    assert "Requires-Python 'nonsense' can't be read" in only_reason(
        Shelf(wheel, requires_python="nonsense")
    )
    assert only_reason(Shelf(wheel, yanked="")) == "it is yanked"
    assert resolve(Shelf(wheel, yanked=""), specifier="==1.0").chosen
    assert not resolve(Shelf(wheel, yanked=""), specifier=">=1.0").chosen
    assert not resolve(Shelf(wheel, yanked=""), specifier="==1.*").chosen


def test_the_upper_bound_of_requires_python_is_for_pip_alone() -> None:
    (note,) = (
        resolve(Shelf(["demo-1.0-py3-none-any.whl"], requires_python="<3.12")).releases[0].notes
    )
    assert note.startswith("pip refuses demo-1.0-py3-none-any.whl, which requires Python <3.12")


def test_where_the_best_wheel_does_not_fit_the_release_is_passed_over() -> None:
    """By its Requires-Python, which counts after it has been chosen."""
    names = ["demo-1.0-py3-none-manylinux_2_17_x86_64.whl", "demo-1.0-py3-none-any.whl"]
    shelf = Shelf([*names, "demo-1.0.tar.gz", "demo-0.9-py3-none-any.whl"])
    shelf.links()[0] = replace(shelf.links()[0], requires_python=">=3.13")
    given = resolve(shelf)
    assert given.chosen is not None
    assert given.chosen.filename == "demo-0.9-py3-none-any.whl"
    rejected = rejections(given, 0)
    assert rejected[names[0]] == ["it requires Python >=3.13, and this is 3.12.0"]
    assert rejected[names[1]] == [f"it comes after {names[0]}, and uv then tries no other wheel"]


def test_wheels_that_nothing_tells_apart() -> None:
    names = ("py2.py3-none-any", "py3-none-any", "py3.py4-none-any")
    plain = resolve(Shelf([f"demo-1.0-{one}.whl" for one in names]))
    assert [one.filename for one in plain.releases[0].fitting] == [
        f"demo-1.0-{one}.whl" for one in names
    ]
    shelf = Shelf(
        [f"demo-1.0-{one}-x.whl" for one in names],
        {"demo-1.0-variants.json": document({"x": LEVEL_V2})},
    )
    assert [one.filename for one in resolve(shelf).releases[0].fitting] == [
        f"demo-1.0-{one}-x.whl" for one in reversed(names)
    ]


def provided(provider: Mapping[str, Any], on: System = V2) -> str | None:
    """Why a variant with this provider is rejected; None where it is not."""
    namespace = "blas" if "static-properties" in provider else "x86_64"
    properties = {"blas": {"library": ["mkl"]}} if namespace == "blas" else LEVEL_V2
    shelf = one_variant(properties, namespaces=(namespace,), providers={namespace: provider})
    return None if resolve(shelf, on).chosen else only_reason(shelf, on)


def test_who_answers_for_a_namespace() -> None:
    undescribed = replace(system(), at=None)
    enabled = replace(V2, enabled=frozenset({"x86_64", "blas"}))
    v2 = "x86_64 :: level :: v2 is not supported: "
    assert provided(PLUGIN) is None
    assert provided(PLUGIN, system()) == v2 + "the description has no [supported.x86_64]"
    not_asked = v2 + "the plugin of x86_64 was not run (plugins run only with --trust)"
    unknown = {"requires": ["provider-variant-x86-64"]}
    assert provided(unknown, undescribed) == not_asked
    elsewhere = {"requires": ["provider-variant-x86-64; sys_platform == 'nowhere'"]}
    nowhere = v2 + "no requirement of its provider applies to this machine"
    assert provided(elsewhere, undescribed) == nowhere
    assert provided(STATIC) is None
    assert provided(STATIC, undescribed) is None
    off = "its provider is optional and not enabled (--enable "
    assert provided({**PLUGIN, "optional": True}) == f"{v2}{off}x86_64)"
    assert provided({**PLUGIN, "optional": True}, enabled) is None
    mkl = "blas :: library :: mkl is not supported: "
    assert provided({**STATIC, "optional": True}) == f"{mkl}{off}blas)"
    assert provided({**STATIC, "optional": True}, enabled) is None
    built_in = {"builtin": "x86_64"}
    assert provided(built_in) is None
    assert provided(built_in, undescribed) == (
        v2 + "its provider is built into installers (x86_64), not into polywheel"
    )
    windows = {**PLUGIN, "enable-if": "sys_platform == 'win32'"}
    assert provided(windows) == (
        v2 + "its provider does not apply to this machine (enable-if: sys_platform == 'win32')"
    )
    assert provided({**PLUGIN, "enable-if": "platform_machine == 'x86_64'"}) is None


def test_static_properties_go_before_the_description() -> None:
    """Draft PEP on providers, "Providers", step 2: they are used exclusively."""
    shelf = one_variant(
        {"blas": {"library": ["mkl"]}}, namespaces=("blas",), providers={"blas": STATIC}
    )
    given = resolve(shelf, system({"blas": {"library": ["openblas"]}}))
    assert given.chosen
    (note,) = given.releases[0].notes
    assert note.startswith("[supported.blas] of the description is ignored")


def test_a_value_that_is_not_among_the_static_properties() -> None:
    shelf = one_variant(
        {"blas": {"library": ["atlas"]}}, namespaces=("blas",), providers={"blas": STATIC}
    )
    assert only_reason(shelf) == (
        "blas :: library :: atlas is not supported: it is not among the static properties"
    )


def test_many_values_that_are_not_among_the_static_properties() -> None:
    """More than 25 once dropped the whole release, for a reason that was not true."""
    unknown = {f"u{number}": {"blas": {"library": [f"b{number}"]}} for number in range(60)}
    variants = {**unknown, "mkl": {"blas": {"library": ["mkl"]}}}
    wheels = [f"demo-1.0-py3-none-any-{label}.whl" for label in variants]
    providers = {"blas": STATIC}
    documents = {
        "demo-1.0-variants.json": document(variants, namespaces=("blas",), providers=providers)
    }
    given = resolve(Shelf(wheels, documents))
    assert given.chosen is not None
    assert given.chosen.label == "mkl"
    assert not given.releases[0].notes
    (reason,) = rejections(given)["demo-1.0-py3-none-any-u59.whl"]
    assert reason.endswith("it is not among the static properties")


def test_a_document_without_providers() -> None:
    """PEP 825 alone has none: only a description can answer."""
    bare = {"default-priorities": {"namespace": ["x86_64"]}, "variants": {"x": LEVEL_V2}}
    shelf = Shelf(["demo-1.0-py3-none-any-x.whl"], {"demo-1.0-variants.json": bare})
    assert resolve(shelf).chosen
    reason = only_reason(shelf, replace(system(), at=None))
    assert reason == "x86_64 :: level :: v2 is not supported: it has no provider"


def test_plugins_are_asked_for_what_is_used_and_nothing_else() -> None:
    asked: list[str] = []

    def ask(providers: Sequence[Provider]) -> Mapping[str, Mapping[str, Sequence[str]]]:
        asked.extend(provider.namespace for provider in providers)
        return {"x86_64": {"level": ["v2"]}}

    providers = {"x86_64": {"requires": ["provider-variant-x86-64"]}, "gpu": PLUGIN}
    metadata = one_variant(LEVEL_V2, namespaces=("x86_64", "gpu"), providers=providers)
    chooser = Resolver(metadata, find_releases(metadata), ask=ask)
    assert chooser.resolve(this_machine()).chosen
    assert asked == ["x86_64"]
    assert chooser.resolve(V2).chosen
    assert asked == ["x86_64"], "a described system needs no plugin"


@pytest.mark.parametrize(
    ("value", "installed", "fits"),
    [
        ("2", "2.9.1", True),
        ("2.9", "2.9.1", True),
        ("2.9", "2.9.0rc1", True),
        ("2.9", "2.10", False),
        ("2.9.1", "2.9.1+cu128", True),
        ("2.0", "2", True),
        ("2.0", "2.1", False),
        ("2", "1!2.0", False),
        ("2.9.1.0", "2.9.1", False),
        ("two", "2.9.1", False),
    ],
)
def test_abi_dependencies(value: str, installed: str, *, fits: bool) -> None:
    """Draft PEP on providers, "ABI Dependency Variant Provider"."""
    shelf = one_variant({"abi_dependency": {"torch": [value]}})
    on = system(packages={"torch": Version(installed)})
    if fits:
        assert resolve(shelf, on).chosen
    else:
        reason = only_reason(shelf, on)
        what = f"abi_dependency :: torch :: {value} is not supported: torch {Version(installed)}"
        assert reason == f"{what} is installed"
    assert only_reason(shelf).endswith(f":: {value} is not supported: torch is not installed")


def test_abi_dependencies_with_few_components_go_first() -> None:
    """As in variantlib; and packages by name."""
    values = {
        "a": ("torch", "2.9.1"),
        "b": ("torch", "2.9"),
        "c": ("torch", "2"),
        "d": ("numpy", "2"),
    }
    variants = {
        label: {"abi_dependency": {name: [value]}} for label, (name, value) in values.items()
    }
    shelf = Shelf(
        [f"demo-1.0-py3-none-any-{label}.whl" for label in values],
        {"demo-1.0-variants.json": document(variants)},
    )
    installed = {"torch": Version("2.9.1"), "numpy": Version("2.3.4")}
    (ranked,) = resolve(shelf, system(packages=installed)).releases
    assert [file.label for file in ranked.fitting] == ["d", "c", "b", "a"]


def test_a_label_of_which_nothing_is_known() -> None:
    names = ["demo-1.0-py3-none-any-x.whl", "demo-1.0-py3-none-any-null.whl"]
    assert rejections(resolve(Shelf(names))) == {
        name: ["there is no file for demo 1.0"] for name in reversed(names)
    }
    given = resolve(Shelf(names, {"demo-1.0-variants.json": document({"y": LEVEL_V2})}))
    assert rejections(given)["demo-1.0-py3-none-any-x.whl"] == [
        "demo-1.0-variants.json has no variant 'x'"
    ]


def test_variant_metadata_that_cannot_be_read_leave_the_non_variant_wheel() -> None:
    """PEP 825, "Implementation requirements": degrade gracefully."""
    shelf = Shelf(["demo-1.0-py3-none-any-x.whl", "demo-1.0-py3-none-any.whl"])
    shelf.documents["demo-1.0-variants.json"] = b"[\x1b"
    shelf.links().append(Link(filename="demo-1.0-variants.json", url=""))
    given = resolve(shelf)
    assert given.chosen is not None
    assert given.chosen.label is None
    (reason,) = rejections(given)["demo-1.0-py3-none-any-x.whl"]
    assert reason.startswith("demo-1.0-variants.json can't be used: variant metadata is not JSON")
    (note,) = given.releases[0].notes
    assert "\x1b" not in note


def test_an_older_release_is_taken_where_nothing_of_a_newer_one_fits() -> None:
    old, new = "demo-1.0-py3-none-any.whl", "demo-1.1-py3-none-win32.whl"
    given = resolve(Shelf([old, new]))
    assert [str(ranked.release.version) for ranked in given.releases] == ["1.1", "1.0"]
    assert given.chosen is not None
    assert given.chosen.filename == old
    # An sdist fits everywhere, as far as anybody can tell.
    given = resolve(Shelf([old, new, "demo-1.1.tar.gz"]))
    assert given.chosen is None
    assert given.sdist is not None
    assert given.sdist.filename == "demo-1.1.tar.gz"
    shelf = Shelf(["demo-1.0.tar.gz"], requires_python=">=3.13")
    assert resolve(shelf).sdist is None


def test_a_note_says_that_uv_takes_requires_python_from_a_wheel_that_does_not_fit(
    tmp_path: Path,
) -> None:
    for requires in (">=3.9", ">=3.13"):
        headers = f"Requires-Python: {requires}\n"
        write_wheel(tmp_path, None, tags="py3-none-win32", headers=headers)
        (tmp_path / "demo-1.0.tar.gz").touch()
        source = FolderSource(tmp_path)
        (ranked,) = Resolver(source, find_releases(source)).resolve(V2).releases
        assert ranked.sdist is not None
        notes = [note for note in ranked.notes if "uv may refuse demo-1.0.tar.gz" in note]
        assert len(notes) == (requires == ">=3.13")


def test_where_nothing_fits_at_all_the_newest_release_is_explained() -> None:
    given = resolve(Shelf([f"demo-1.{minor}-py3-none-win32.whl" for minor in range(3)]))
    assert [str(ranked.release.version) for ranked in given.releases] == ["1.2"]
    assert given.chosen is None


def test_prereleases_and_specifiers() -> None:
    shelf = Shelf([f"demo-{one}-py3-none-any.whl" for one in ("1.0", "1.1", "2.0rc1")])

    def version(specifier: str) -> str:
        return str(resolve(shelf, specifier=specifier).releases[-1].release.version)

    assert [version(one) for one in ("", "<1.1", "==2.0rc1")] == ["1.1", "1.0", "2.0rc1"]
    with pytest.raises(ConfigError, match="no version matches ==3"):
        version("==3")
    alone = resolve(Shelf(["demo-2.0rc1-py3-none-any.whl"]))
    assert alone.chosen is not None


def test_a_prerelease_is_taken_where_no_final_release_fits() -> None:
    """As pip and uv do; pre-releases in their own order, after every final release."""
    wheels = ["demo-1.0-py3-none-win32.whl", "demo-1.1-py3-none-win32.whl"]
    early = ["demo-0.9rc1-py3-none-any.whl", "demo-1.1rc1-py3-none-any.whl"]
    given = resolve(Shelf([*wheels, *early, "demo-1.2a1-py3-none-win32.whl"]))
    tried = [str(ranked.release.version) for ranked in given.releases]
    assert tried == ["1.1", "1.0", "1.2a1", "1.1rc1"]
    assert given.chosen is not None
    assert given.chosen.filename == early[1]
    (note,) = given.releases[-1].notes
    assert note == "demo 1.1rc1 is a pre-release, chosen because no final release fits"
    assert resolve(Shelf([*wheels, *early]), specifier=">=1").releases[-1].chosen
    assert resolve(Shelf([*wheels, *early, "demo-1.0.tar.gz"])).sdist is not None
    nothing = resolve(Shelf([*wheels, "demo-1.2rc1-py3-none-win32.whl"]))
    assert [str(ranked.release.version) for ranked in nothing.releases] == ["1.1"]
    assert not nothing.releases[0].notes


def test_variants_json_of_another_spelling_and_another_project() -> None:
    shelf = Shelf(
        ["demo_pkg-1.0.0-py3-none-any-x.whl"],
        {
            "demo_pkg-1.0-variants.json": document({"x": LEVEL_V2}),
            "demo-1.0-variants.json": document({"y": LEVEL_V2}),
            "demo_pkg-one-variants.json": document({"y": LEVEL_V2}),
        },
    )
    assert resolve(shelf).chosen


def test_metadata_are_read_once_for_many_systems() -> None:
    read: list[str] = []

    class Counting(Shelf):
        def variants_json(self, link: Link) -> bytes:
            read.append(link.filename)
            return super().variants_json(link)

    shelf = Counting(
        ["demo-1.0-py3-none-any-x.whl"], {"demo-1.0-variants.json": document({"x": LEVEL_V2})}
    )
    chooser = Resolver(shelf, find_releases(shelf))
    assert [chooser.resolve(one).chosen is None for one in (V2, system(), V2)] == [
        False,
        True,
        False,
    ]
    assert read == ["demo-1.0-variants.json"]


def test_several_projects_in_one_place(tmp_path: Path) -> None:
    shelf = Shelf(["demo-1.0-py3-none-any.whl", "other-1.0-py3-none-any.whl", "notes.txt"])
    with pytest.raises(ConfigError, match="contains 2 projects: demo, other"):
        find_releases(shelf)
    assert [str(one) for one in find_releases(shelf, project="Other")] == ["other 1.0"]
    with pytest.raises(ConfigError, match="does not contain 'demp'") as caught:
        find_releases(shelf, project="demp")
    assert caught.value.problems[0].hint == "did you mean 'demo'?"
    with pytest.raises(ConfigError, match="contains no wheels"):
        find_releases(FolderSource(tmp_path))
    with pytest.raises(ConfigError, match="can't be listed"):
        find_releases(FolderSource(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("Torch", "https://host/simple/torch/"),
        ("zope.interface == 5", "https://host/simple/zope-interface/"),
    ],
)
def test_the_page_of_a_name(text: str, page: str) -> None:
    for base in ("https://host/simple", "https://host/simple/"):
        assert find_project_page(text, base)[0].at == page


@pytest.mark.parametrize(
    "text", ["a b", "torch[cuda]", "torch @ file:///x", "t; os_name=='nt'", ""]
)
def test_what_names_no_project(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a folder, a URL, or a project name"):
        find_project_page(text, "https://host/simple/")


def test_a_wheel_of_a_folder_that_cannot_be_read_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "demo-1.0-py3-none-any.whl").write_bytes(b"no archive")
    folder = FolderSource(tmp_path)
    given = Resolver(folder, find_releases(folder)).resolve(V2)
    assert given.chosen is None
    assert len(rejections(given)["demo-1.0-py3-none-any.whl"]) == 1


def test_support_of_a_release_without_variants_is_empty() -> None:
    assert find_support(V2, VariantMetadata(), ask=None).supported == {}


def test_wheel_error_for_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="can't be read"):
        FolderSource(tmp_path).variants_json(Link(filename="x", url=str(tmp_path / "x")))

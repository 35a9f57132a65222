"""``[variant]`` of every version in one model; each mistake is reported with its key path."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from variantlib.pyproject_toml import VariantPyProjectToml

from polywheel.config.reader import Problems, Table
from polywheel.config.variant_table import read_variant_table
from polywheel.errors import ConfigError, Problem
from polywheel.formats.metadata import variant_fields
from polywheel.model.variant import Variant, VariantMetadata, VariantProperty

DATA = Path(__file__).parents[1] / "data"
TORCH = """
[variant.default-priorities]
namespace = ["nvidia", "x86_64"]
feature = []
property = []
[variant.providers.nvidia]
requires = ["nvidia-variant-provider == 1.0.0"]
plugin-api = "nvidia_variant_provider.plugin:NvidiaVariantPlugin"
[variant.providers.x86_64]
requires = ["x86_64_variant_provider == 1.0.0"]
plugin-api = "x86_64_variant_provider.plugin:X8664Plugin"
"""
NEWEST = """
[variant]
"$schema" = "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json"
[variant.default-priorities]
namespace = ["x86_64", "blas", "mpi", "gpu"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64 >= 0.0.1; python_version >= '3.12'"]
plugin-api = "provider_variant_x86_64.plugin : X8664Plugin"
optional = true
[variant.providers.blas]
static-properties = { library = ["openblas", "mkl"], threads = ["openmp", "none"] }
feature-order = ["threads", "library"]
[variant.providers.mpi]
build-requires = ["Mpi.Provider"]
[variant.providers.gpu]
builtin = "gpu"
[variant.variants."cu12.8"]
blas.library = ["openblas", "mkl"]
gpu.arch = ["90"]
[variant.variants.null]
"""
OLDER = """
[variant.default-priorities]
namespace = ["x86_64", "blas", "mpi"]
feature.x86_64 = ["level"]
feature.blas = ["threads", "library"]
property.x86_64.level = ["v3", "v2"]
property.blas.library = ["mkl"]
[variant.providers.x86_64]
requires = ["provider-variant-x86-64"]
enable-if = "platform_machine == 'x86_64'"
optional = true
[variant.providers.blas]
install-time = false
[variant.providers.mpi]
requires = ["mpi-provider"]
install-time = false
plugin-api = "mpi_provider:Plugin"
[variant.static-properties.blas]
library = ["openblas", "mkl"]
threads = ["openmp", "none"]
"""


def read_table(variant: object) -> VariantMetadata:
    problems = Problems()
    metadata = read_variant_table(
        Table({"variant": variant}, "pyproject.toml", (), problems).table("variant")
    )
    problems.raise_all()
    return metadata


def read(text: str) -> VariantMetadata:
    return read_table(tomllib.loads(text)["variant"])


def problems_of(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.problems


def texts(values: tuple[object, ...]) -> list[str]:
    return [str(value) for value in values]


# --- what is written today and was written in 2025 ---------------------------------------------


def test_the_example_of_pep_817() -> None:
    metadata = read((DATA / "pep-817-pyproject.toml").read_text(encoding="utf-8"))
    assert metadata.namespaces == ("x86_64", "aarch64", "blas_lapack")
    # By namespace priority: a table has no order of its own.
    assert texts(metadata.feature_priorities) == ["x86_64 :: level", "aarch64 :: version"]
    assert texts(metadata.property_priorities) == [
        "x86_64 :: level :: v3",
        "x86_64 :: level :: v2",
        "x86_64 :: level :: v1",
    ]
    aarch64 = metadata.providers["aarch64"]
    assert aarch64.requires == (
        "provider-variant-aarch64 >=0.0.1; python_version >= '3.12'",
        "legacy-provider-variant-aarch64 >=0.0.1; python_version < '3.12'",
    )
    assert aarch64.enable_if == "platform_machine == 'aarch64' or 'arm' in platform_machine"
    assert aarch64.object_reference == "provider_variant_aarch64.plugin:AArch64Plugin"
    blas = metadata.providers["blas_lapack"]
    assert (blas.requires, blas.build_requires) == ((), ("blas-lapack-variant-provider",))
    assert (blas.plugin_api, blas.object_reference) == (None, "blas_lapack_variant_provider")
    assert metadata.variants == {}


def test_the_example_of_the_draft_on_building() -> None:
    metadata = read((DATA / "pep-9998-pyproject.toml").read_text(encoding="utf-8"))
    assert metadata.namespaces == ("x86_64", "aarch64", "blas_lapack")
    assert texts(metadata.feature_priorities) == ["blas_lapack :: library"]
    assert texts(metadata.property_priorities) == [
        "blas_lapack :: library :: mkl",
        "blas_lapack :: library :: openblas",
    ]
    assert metadata.providers["blas_lapack"].build_requires == ("blas-lapack-variant-provider",)
    assert metadata.providers["x86_64"].plugin_api == "provider_variant_x86_64.plugin:X8664Plugin"
    assert len(metadata.providers["x86_64"].requires) == 2
    assert {label: texts(one.properties) for label, one in metadata.variants.items()} == {
        "x86_64_v3_openblas": ["blas_lapack :: library :: openblas", "x86_64 :: level :: v3"],
        "x86_64_v4_mkl": ["blas_lapack :: library :: mkl", "x86_64 :: level :: v4"],
    }


def test_the_torch_wheel_of_the_2025_talks() -> None:
    metadata = read(TORCH)
    listed = ("x86_64 :: level :: 4", "nvidia :: sm_arch :: 90", "nvidia :: cuda :: 12.8")
    variant = Variant.of(map(VariantProperty.parse, listed))
    assert list(variant_fields(variant, metadata)) == [
        ("Variant-Label", "9240ade1"),
        ("Variant-Hash", "9240ade1"),
        ("Variant-Property", "nvidia :: cuda :: 12.8"),
        ("Variant-Property", "nvidia :: sm_arch :: 90"),
        ("Variant-Property", "x86_64 :: level :: 4"),
        ("Variant-Requires", "nvidia: nvidia-variant-provider == 1.0.0"),
        ("Variant-Plugin-API", "nvidia: nvidia_variant_provider.plugin:NvidiaVariantPlugin"),
        ("Variant-Requires", "x86_64: x86_64_variant_provider == 1.0.0"),
        ("Variant-Plugin-API", "x86_64: x86_64_variant_provider.plugin:X8664Plugin"),
        ("Variant-Default-Namespace-Priorities", "nvidia, x86_64"),
    ]


def test_the_newest_form() -> None:
    metadata = read(NEWEST)
    x86_64, blas, mpi, gpu = (metadata.providers[name] for name in metadata.namespaces)
    assert x86_64.plugin_api == "provider_variant_x86_64.plugin:X8664Plugin"
    assert x86_64.optional
    assert blas.static_properties == {
        "library": ("openblas", "mkl"),
        "threads": ("openmp", "none"),
    }
    assert blas.feature_order == ("threads", "library")
    assert blas.object_reference is None
    # Normalized as a project name is: lower case, runs of `-_.` one `-`, then `_`.
    assert (mpi.build_requires, mpi.object_reference) == (("Mpi.Provider",), "mpi_provider")
    assert (gpu.builtin, gpu.object_reference, gpu.optional) == ("gpu", None, False)
    assert metadata.variants["null"].is_null
    assert texts(metadata.variants["cu12.8"].properties) == [
        "blas :: library :: mkl",
        "blas :: library :: openblas",
        "gpu :: arch :: 90",
    ]


def test_the_reference_library_reads_the_newest_form_alike() -> None:
    ours, theirs = read(NEWEST), VariantPyProjectToml(tomllib.loads(NEWEST))
    assert theirs.namespace_priorities == list(ours.namespaces)
    assert theirs.providers["blas"].feature_order == list(ours.providers["blas"].feature_order)
    assert theirs.providers["mpi"].build_requires == list(ours.providers["mpi"].build_requires)
    assert {label: one.hexdigest for label, one in theirs.variants.items()} == {
        label: one.hash for label, one in ours.variants.items()
    }


def test_the_older_form_gives_the_same_model() -> None:
    older, newest = read(OLDER), read(NEWEST)
    assert older.providers["blas"] == newest.providers["blas"]
    assert older.providers["mpi"].build_requires == ("mpi-provider",)
    assert older.providers["mpi"].object_reference == "mpi_provider:Plugin"
    assert older.providers["x86_64"].enable_if == "platform_machine == 'x86_64'"
    assert older.providers["x86_64"].optional


def test_priorities_as_lists_and_as_tables_are_the_same() -> None:
    tables = read(OLDER)
    lists = OLDER.replace(
        'feature.x86_64 = ["level"]\nfeature.blas = ["threads", "library"]',
        'feature = ["x86_64::level", "blas :: threads", "blas :: library"]',
    ).replace(
        'property.x86_64.level = ["v3", "v2"]\nproperty.blas.library = ["mkl"]',
        'property = ["x86_64::level::v3", "x86_64 :: level :: v2", "blas::library::mkl"]',
    )
    assert lists.count("::") == 9
    assert read(lists) == tables


def test_a_list_of_priorities_keeps_its_order() -> None:
    text = TORCH.replace("feature = []", 'feature = ["x86_64::level", "nvidia::cuda"]')
    assert texts(read(text).feature_priorities) == ["x86_64 :: level", "nvidia :: cuda"]


def test_static_properties_beside_the_providers_need_no_provider_table() -> None:
    text = OLDER.replace("[variant.providers.blas]\ninstall-time = false\n", "")
    assert "providers.blas" not in text
    assert read(text) == read(OLDER)


def test_an_older_order_may_name_features_that_are_not_static() -> None:
    text = OLDER.replace('["threads", "library"]', '["threads", "other", "library"]')
    assert read(text).providers["blas"].feature_order == ("threads", "library")


def test_one_static_feature_needs_no_order() -> None:
    text = OLDER.replace('threads = ["openmp", "none"]', "")
    assert read(text).providers["blas"].feature_order == ()


def test_without_a_variant_table_nothing_is_declared() -> None:
    assert read_table({}) == VariantMetadata()


def test_the_reserved_namespace_has_no_place_in_the_priorities() -> None:
    # PEP 825 wants every namespace in use listed, the draft on providers takes this one out.
    text = TORCH.replace('["nvidia", "x86_64"]', '["nvidia", "abi_dependency", "x86_64"]')
    text += "[variant.variants.torch29]\nabi_dependency.torch = ['2.9', '2.10']\n"
    metadata = read(text)
    assert metadata.namespaces == ("nvidia", "x86_64")
    assert len(metadata.variants["torch29"].properties) == 2


# --- what is wrong, and where -------------------------------------------------------------------

MISTAKES = tomllib.loads((DATA / "variant-mistakes.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("mistake", MISTAKES["newest"], ids=itemgetter("new"))
def test_a_mistake_is_said_with_its_place(mistake: dict[str, str]) -> None:
    check_mistake(NEWEST, mistake)


@pytest.mark.parametrize("mistake", MISTAKES["older"], ids=itemgetter("new"))
def test_a_mistake_in_the_older_form_is_said_with_its_place(mistake: dict[str, str]) -> None:
    check_mistake(OLDER, mistake)


def check_mistake(good: str, mistake: dict[str, str]) -> None:
    assert mistake["old"] in good
    found = problems_of(good.replace(mistake["old"], mistake["new"], 1))
    (problem,) = (one for one in found if one.at == f"pyproject.toml: {mistake['at']}")
    assert mistake["what"] in problem.what
    assert mistake.get("hint", "") in (problem.hint or "")


def test_one_mistake_is_one_problem() -> None:
    """A malformed requirement does not also make the provider one without a source."""
    (problem,) = problems_of(NEWEST.replace('builtin = "gpu"', 'requires = ["not good!"]'))
    assert problem.at == "pyproject.toml: variant.providers.gpu.requires[0]"


def test_mistakes_are_collected() -> None:
    text = NEWEST.replace("optional = true", "optinal = true").replace("gpu.arch", "gpx.arch")
    text = text.replace('"mpi", ', "").replace('["Mpi.Provider"]', '["Mpi Provider"]')
    found = problems_of(text)
    assert [str(problem.at).removeprefix("pyproject.toml: ") for problem in found] == [
        "variant.providers.x86_64.optinal",
        "variant.providers.mpi.build-requires[0]",
        "variant.providers.mpi",
        'variant.variants."cu12.8".gpx.arch',
    ]
    error = ConfigError.collected(found)
    assert error.exit_code == 2
    assert error.render().count("error: ") == 4
    assert error.render().startswith(
        "error: unknown key 'optinal'\n"
        "  at: pyproject.toml: variant.providers.x86_64.optinal\n"
        "  hint: did you mean 'optional'?\n"
    )


@pytest.mark.parametrize("value", [3, "text", [], True, 1.5])
@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("default-priorities",),
        ("providers",),
        ("providers", "x86_64"),
        ("providers", "blas", "static-properties"),
        ("variants",),
        ("variants", "cu12.8"),
        ("variants", "cu12.8", "blas"),
    ],
)
def test_what_is_not_a_table_is_said(keys: tuple[str, ...], value: object) -> None:
    document = tomllib.loads(NEWEST)
    place = document
    for key in ("variant", *keys)[:-1]:
        place = place[key]
    place[("variant", *keys)[-1]] = value
    with pytest.raises(ConfigError) as caught:
        read_table(document["variant"])
    found = [one for one in caught.value.problems if one.what.startswith("expected a table, found")]
    assert len(found) == 1
    dotted = ".".join(f'"{key}"' if "." in key else key for key in ("variant", *keys))
    assert found[0].at == f"pyproject.toml: {dotted}"


# --- whatever stands there ----------------------------------------------------------------------


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every string in a document."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))


@pytest.mark.parametrize(
    "evil",
    [
        "{}\nEvil: yes",
        "{}\r\nEvil: yes",
        "{}\rEvil: yes",
        "Evil: yes\n{}",
        "{}\n",
        "{}; os_name == 'a\nEvil: yes'",
        "{} @ file:///a\nEvil:b",
        "{}\x0b",
        "{}\x85Evil: yes",
        "{}\u2028Evil: yes",
        "{}\x00",
        "{}\udc80",
    ],
)
@pytest.mark.parametrize("text", [NEWEST, OLDER, TORCH], ids=["newest", "older", "torch"])
def test_no_string_begins_a_header_of_its_own(text: str, evil: str) -> None:
    """METADATA is lines: what the fields hold must be one line for every reader."""
    document = tomllib.loads(text)["variant"]
    document.setdefault("default-priorities", {})
    tried = 0
    for path in leaves(document):
        spoilt = copy.deepcopy(document)
        place = spoilt
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = evil.format(place[path[-1]])
        tried += 1
        try:
            metadata = read_table(spoilt)
        except ConfigError:
            continue
        assert path == ("$schema",)  # read, and never written
        fields = [value for one in every_variant(metadata) for _, value in one]
        assert all(value.isprintable() for value in fields)
    assert tried > 5


def every_variant(metadata: VariantMetadata) -> Iterator[list[tuple[str, str]]]:
    for variant in (*metadata.variants.values(), Variant.of(())):
        yield list(variant_fields(variant, metadata))


def test_names_that_hold_line_breaks_are_refused() -> None:
    spoilt = {
        "default-priorities": {"namespace": ["a\nEvil"], "feature": {"a\nEvil": ["b"]}},
        "providers": {"a\nEvil": {"builtin": "x"}},
        "variants": {"a\nEvil": {"b\nEvil": {"c\nEvil": ["d\nEvil"]}}},
    }
    with pytest.raises(ConfigError) as caught:
        read_table(spoilt)
    for problem in caught.value.problems:
        assert problem.render().count("\n") <= 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("requires", ["a; " + "(" * 5000 + "os_name == 'a'" + ")" * 5000]),
        ("enable-if", "(" * 5000 + "os_name == 'a'" + ")" * 5000),
        ("optional", 10**5000),  # Python refuses to print it
    ],
    ids=["requirement", "marker", "number"],
)
def test_what_python_itself_refuses_is_an_error_of_ours(key: str, value: object) -> None:
    provider: dict[str, object] = {"requires": ["a"], key: value}
    table = {"default-priorities": {"namespace": ["a"]}, "providers": {"a": provider}}
    with pytest.raises(ConfigError) as caught:
        read_table(table)
    assert "providers.a." in caught.value.render()


WORDS = st.sampled_from(
    (
        *("x86_64", "blas", "mpi", "gpu", "library", "v3", "null", "abi_dependency", "2.9"),
        *("x86_64 :: level", "blas :: library :: mkl", "some >= 1", "os_name == 'nt'", "", "X\n"),
        *("requires", "build-requires", "static-properties", "builtin", "install-time"),
    )
)
JUNK = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every table and list of a document, with each of its keys or indices."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def test_the_place_of_a_value_is_put_into_words_only_for_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An index has thousands of values: their places take longer than everything else."""
    described: list[tuple[str, ...]] = []
    original = Table.at

    def at(table: Table, *keys: str) -> str:
        described.append(keys)
        return original(table, *keys)

    monkeypatch.setattr(Table, "at", at)
    values = ", ".join(f"'v{number}'" for number in range(500))
    text = f"[variant.providers.a]\nstatic-properties.f = [{values}]\n"
    text += f"[variant.variants.all]\na.f = [{values}]\n"
    read(f"[variant.default-priorities]\nnamespace = ['a']\n{text}")
    assert len(described) < 20


@st.composite
def spoilt_tables(draw: st.DrawFn) -> object:
    """A good ``[variant]`` table in which up to three things are taken out, replaced or added."""
    table: Any = tomllib.loads(draw(st.sampled_from((NEWEST, OLDER, TORCH))))["variant"]
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(table))
        if not found:
            break
        parent, key = draw(st.sampled_from(found))
        if draw(st.booleans()):
            del parent[key]
        elif draw(st.booleans()) or isinstance(parent, list):
            parent[key] = draw(JUNK | WORDS)
        else:
            parent[draw(WORDS)] = draw(JUNK)
    return table


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spoilt_tables() | JUNK)
def test_any_table_is_a_model_or_a_config_error(variant: object) -> None:
    try:
        metadata = read_table(variant)
    except ConfigError as error:
        for problem in error.problems:
            assert problem.at is not None
            assert problem.at.startswith("pyproject.toml: variant")
            assert problem.render().count("\n") <= 2
        return
    assert set(metadata.namespaces) == set(metadata.providers)
    for provider in metadata.providers.values():
        kinds = (provider.requires, provider.build_requires, provider.static_properties)
        assert [*map(bool, kinds), provider.builtin is not None].count(True) == 1
    for label, one in metadata.variants.items():
        assert one.label == label
        assert one.is_null == (label == "null")
    for fields in every_variant(metadata):
        assert all(value.isprintable() for _, value in fields)

"""The predictions of ``polywheel explain``, compared with a real uv."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.version import Version

from polywheel.cli import main
from support.builds import levels_of_this_machine
from support.uv_releases import (
    BLAS,
    NVIDIA,
    X86_64,
    Properties,
    level,
    uv_takes,
    write_release,
    write_wheel,
)

DRIVER = "NV_VARIANT_PROVIDER_FORCE_CUDA_DRIVER_VERSION"
SM_ARCH = "NV_VARIANT_PROVIDER_FORCE_SM_ARCH"
SEVENTEEN = "manylinux_2_17_x86_64"


@pytest.fixture(scope="module", autouse=True)
def _uv_with_variants() -> None:
    said = subprocess.run(["uv", "--version"], capture_output=True, encoding="utf-8", check=True)
    if Version(said.stdout.split()[1]) < Version("0.13.8"):
        pytest.skip("needs uv 0.13.8 or newer, with its preview of wheel variants")
    if shutil.which("nvidia-smi"):
        pytest.skip("uv would see the GPU of this machine")


@pytest.fixture(scope="module")
def levels() -> list[str]:
    """The x86-64 levels of this machine, best first."""
    return levels_of_this_machine()


def described(levels: list[str], env: Mapping[str, str]) -> str:
    """The machine, as uv 0.13.8 sees it: of x86_64 the level alone, of nvidia what is forced."""
    lines = ['name = "uv"', "[supported.x86_64]", f"level = {json.dumps(levels)}"]
    lines.append("[supported.nvidia]")
    if DRIVER in env:
        major, minor = map(int, env[DRIVER].split("."))
        lower = [
            *(f"{major}.{one}" for one in range(minor, -1, -1)),
            str(major),
            *(v for m in range(major - 1, 10, -1) for v in with_minors(m)),
        ]
        upper = [
            *(v for m in range(15, major, -1) for v in with_minors(m)),
            *(f"{major}.{one}" for one in range(20, minor, -1)),
        ]
        lines.append(f"cuda_version_lower_bound = {json.dumps(lower)}")
        lines.append(f"cuda_version_upper_bound = {json.dumps(upper)}")
    if DRIVER in env and SM_ARCH in env:
        first, last = env[SM_ARCH].split(".")
        archs = [f"{first}{one}_real" for one in range(int(last), -1, -1)]
        lines.append(f"sm_arch = {json.dumps([*archs, f'{first}0_virtual'])}")
    return "\n".join(lines)


def with_minors(major: int) -> list[str]:
    return [*(f"{major}.{minor}" for minor in range(20, -1, -1)), str(major)]


def explained(
    folder: Path, system: str, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> str | None:
    (scratch / "system.toml").write_text(system, encoding="utf-8")
    code = main(["explain", str(folder), "--system", str(scratch / "system.toml"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    chosen: str | None = answer["chosen"]
    assert code == (0 if chosen is not None else 1)
    return chosen


CUDA: Mapping[str, Properties] = {
    "cpu": {},
    "cu118": {"nvidia": {"cuda_version_lower_bound": ["11.8"]}},
    "cu126": {"nvidia": {"cuda_version_lower_bound": ["12.6"], "cuda_version_upper_bound": ["13"]}},
    "cu128": {"nvidia": {"cuda_version_lower_bound": ["12.8"], "sm_arch": ["80_real", "90_real"]}},
    "cu13": {"nvidia": {"cuda_version_lower_bound": ["13.0"]}},
}
LEVELS = {"none": (), "v1": ("v1",), "to v4": ("v1", "v2", "v3", "v4"), "v4 alone": ("v4",)}
MACHINES = {
    "no GPU": {},
    "12.8 and sm_90": {DRIVER: "12.8", SM_ARCH: "9.0"},
    "13.0 and sm_75": {DRIVER: "13.0", SM_ARCH: "7.5"},
}
LAST = {"null and plain": (True, True), "null": (True, False), "plain": (False, True)}
TABLE = list(itertools.product(LEVELS, (False, True), MACHINES, LAST))
RESTRICTIVE = list(itertools.product(LEVELS, (False, True), MACHINES))


def product(levels: tuple[str, ...], *, blas: bool, null: bool) -> dict[str, Properties]:
    """Every combination of level, CUDA and BLAS, in no order of theirs."""
    found: dict[str, Properties] = {}
    for one, cuda, library in itertools.product(
        levels or ("",), CUDA, ("mkl", "openblas") if blas else ("",)
    ):
        properties = {
            **CUDA[cuda],
            **(level(one) if one else {}),
            **({"blas": {"library": [library]}} if library else {}),
        }
        if properties:
            found["_".join(part for part in (library, cuda, one) if part)] = properties
    if null:
        found["null"] = {}
    return found


@pytest.mark.parametrize(("which", "blas", "machine", "last"), TABLE)
def test_the_table(  # noqa: PLR0917 -- the case, and fixtures
    which: str,
    blas: bool,
    machine: str,
    last: str,
    levels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    null, plain = LAST[last]
    folder, env = tmp_path / "dist", MACHINES[machine]
    write_release(
        folder,
        product(LEVELS[which], blas=blas, null=null),
        namespaces=("nvidia", "x86_64", "blas"),
        plain=plain,
    )
    taken = uv_takes(folder, tmp_path, env=env)
    assert explained(folder, described(levels, env), tmp_path, capsys) == taken


@pytest.mark.parametrize(
    ("which", "blas", "machine"), [one for one in RESTRICTIVE if one[0] != "none"]
)
def test_the_table_where_nothing_is_left_to_fall_back_on(  # noqa: PLR0917 -- as above
    which: str,
    blas: bool,
    machine: str,
    levels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only variants that need a GPU of some kind: on a machine without one, nothing is installed."""
    folder, env = tmp_path / "dist", MACHINES[machine]
    variants = product(LEVELS[which], blas=blas, null=False)
    variants = {label: one for label, one in variants.items() if "nvidia" in one}
    write_release(folder, variants, namespaces=("x86_64", "nvidia", "blas"), plain=False)
    taken = uv_takes(folder, tmp_path, env=env)
    assert (taken is None) == (machine == "no GPU" or (which == "v4 alone" and "v4" not in levels))
    assert explained(folder, described(levels, env), tmp_path, capsys) == taken


def test_level_cuda_and_null_as_the_readme_says(levels: list[str], tmp_path: Path) -> None:
    """Not held against polywheel, but against what a person expects: so the table means something."""
    if not levels:
        pytest.skip("needs an x86-64 machine")
    folder = tmp_path / "levels"
    write_release(folder, {**{one: level(one) for one in ("v1", "v2", "v3", "v4")}, "null": {}})
    assert uv_takes(folder, tmp_path) == f"demo-1.0-py3-none-any-{levels[0]}.whl"
    folder = tmp_path / "cuda"
    cuda = {**{name: one for name, one in CUDA.items() if one}, "null": {}}
    write_release(folder, cuda, namespaces=("nvidia",))
    assert uv_takes(folder, tmp_path / "a") == "demo-1.0-py3-none-any-null.whl"
    env = MACHINES["12.8 and sm_90"]
    assert uv_takes(folder, tmp_path / "b", env=env) == "demo-1.0-py3-none-any-cu128.whl"


# What the table does not have: each case writes its own release.
def _several_values(folder: Path) -> None:
    several: Properties = {"x86_64": {"level": ["v1", "v9"]}}
    write_release(folder, {"a": several, "b": level("v2"), "c": {"x86_64": {"level": ["v9"]}}})


def _equal_best_values(folder: Path) -> None:
    write_release(folder, {"b": level("v1"), "a": {"x86_64": {"level": ["v1", "v9"]}}})


def _equal_properties(folder: Path) -> None:
    write_release(folder, {label: level("v1") for label in ("a_", "a.", "a1", "aa", "0")})


def _longer_goes_first(folder: Path) -> None:
    both: Properties = {**level("v1"), "blas": {"library": ["mkl"]}}
    variants = {"a": level("v1"), "b": both}
    write_release(folder, variants, namespaces=("x86_64", "blas"))


def _namespaces_the_other_way(folder: Path) -> None:
    variants = {
        "a": {**level("v1"), "blas": {"library": ["openblas"]}},
        "b": {**level("v2"), "blas": {"library": ["mkl"]}},
    }
    write_release(folder, variants, namespaces=("blas", "x86_64"))


def _feature_order(folder: Path) -> None:
    static = {"library": ["mkl"], "build": ["release", "debug"]}
    provider = {"static-properties": static, "feature-order": ["library", "build"]}
    variants = {"a": {"blas": {"build": ["release"]}}, "b": {"blas": {"library": ["mkl"]}}}
    write_release(folder, variants, namespaces=("blas",), providers={"blas": provider})


def _feature_order_of_nvidia(folder: Path) -> None:
    variants = {
        "a": {"nvidia": {"sm_arch": ["90_real"]}},
        "b": {"nvidia": {"cuda_version_upper_bound": ["13"]}},
        "c": {"nvidia": {"cuda_version_lower_bound": ["11"]}},
    }
    write_release(folder, variants, namespaces=("nvidia",))


def _upper_bounds(folder: Path) -> None:
    """The furthest is the best."""
    bounds = ("12.8", "12.9", "13", "14.5", "15.21")
    variants = {f"b{bound}": {"nvidia": {"cuda_version_upper_bound": [bound]}} for bound in bounds}
    write_release(folder, variants, namespaces=("nvidia",))


def _lower_bounds(folder: Path) -> None:
    """A major version alone comes behind all its minor ones."""
    bounds = ("12.9", "12", "12.0", "11.20", "10.2")
    variants = {f"b{bound}": {"nvidia": {"cuda_version_lower_bound": [bound]}} for bound in bounds}
    write_release(folder, variants, namespaces=("nvidia",))


def _not_among_the_static_properties(folder: Path) -> None:
    variants = {"a": {"blas": {"library": ["atlas"]}}, "null": {}}
    write_release(folder, variants, namespaces=("blas",))


def _an_optional_provider(folder: Path) -> None:
    write_release(folder, {"a": level("v1")}, providers={"x86_64": {**X86_64, "optional": True}})


def _optional_static_properties(folder: Path) -> None:
    variants = {"a": {"blas": {"library": ["mkl"]}}}
    providers = {"blas": {**BLAS, "optional": True}}
    write_release(folder, variants, namespaces=("blas",), providers=providers)


def _an_unknown_namespace(folder: Path) -> None:
    variants = {"a": {"spice": {"hot": ["on"]}, **level("v1")}, "b": level("v1")}
    providers = {"spice": {"requires": ["spice"]}, "x86_64": X86_64}
    write_release(folder, variants, namespaces=("spice", "x86_64"), providers=providers)


def _an_unknown_feature(folder: Path) -> None:
    write_release(folder, {"a": {"x86_64": {"level": ["v1"], "wings": ["on"]}}, "null": {}})


def _tags_within_a_group(folder: Path) -> None:
    document = write_release(folder, {"a": level("v1"), "b": level("v2")})
    for label in ("a", "b"):
        own = {**document, "variants": {label: document["variants"][label]}}
        for tags in (f"py3-none-{SEVENTEEN}", "cp311-cp311-win_amd64", "py311-none-any"):
            write_wheel(folder, label, document=own, tags=tags)


def _a_variant_goes_before_a_better_tag(folder: Path) -> None:
    tags = {"null": f"py3-none-{SEVENTEEN}"}
    write_release(folder, {"a": level("v1"), "null": {}}, tags=tags)
    write_wheel(folder, None, tags=f"py3-none-{SEVENTEEN}")


def _no_tag_fits(folder: Path) -> None:
    write_release(folder, {"a": level("v1"), "null": {}}, tags={"a": "py3-none-win32"})


def _build_tags(folder: Path) -> None:
    document = write_release(folder, {"a": level("v1"), "b": {**level("v1"), **level("v2")}})
    own = {**document, "variants": {"a": level("v1")}}
    for build in ("2", "10"):
        write_wheel(folder, "a", document=own, build=build)


def _a_tag_goes_before_a_build(folder: Path) -> None:
    document = write_release(folder, {"a": level("v1")})
    own = {**document, "variants": {"a": level("v1")}}
    write_wheel(folder, "a", document=own, build="7")
    write_wheel(folder, "a", document=own, tags=f"py3-none-{SEVENTEEN}")


def _builds_of_plain_wheels(folder: Path) -> None:
    write_release(folder, {"null": {}})
    write_wheel(folder, None, build="7")


def _a_label_that_variants_json_lacks(folder: Path) -> None:
    write_release(folder, {"a": level("v1")})
    write_wheel(folder, "b")
    write_wheel(folder, "null")


def _a_variant_without_wheel(folder: Path) -> None:
    write_release(folder, {"a": level("v2"), "b": level("v1")})
    (folder / "demo-1.0-py3-none-any-a.whl").unlink()


def _an_older_release(folder: Path) -> None:
    write_release(folder, {"a": level("v9")}, version="1.1", plain=False)
    write_release(folder, {"a": level("v1")}, version="1.0")


def _a_newer_release_without_variants(folder: Path) -> None:
    write_release(folder, {"a": level("v1")})
    write_wheel(folder, None, version="1.1")


def _a_prerelease(folder: Path) -> None:
    write_release(folder, {"a": level("v1")})
    write_wheel(folder, None, version="1.1rc1")


def _only_a_prerelease(folder: Path) -> None:
    write_release(folder, {"a": level("v1")}, version="1.1rc1")


def _a_prerelease_where_no_final_release_fits(folder: Path) -> None:
    write_release(folder, {"a": level("v9")}, plain=False)
    write_wheel(folder, None, version="0.9", tags="py3-none-win32")
    write_release(folder, {"a": level("v1")}, version="1.1rc1", plain=False)
    write_wheel(folder, None, version="1.2a1", tags="py3-none-win32")
    write_wheel(folder, None, version="0.8rc1")


def _plain_linux_and_manylinux(folder: Path) -> None:
    document = write_release(folder, {"a": level("v1")})
    for tags in ("py3-none-linux_x86_64", f"py3-none-{SEVENTEEN}", "py3-none-manylinux1_x86_64"):
        write_wheel(folder, "a", document=document, tags=tags)


def _spellings_of_a_version(folder: Path) -> None:
    write_release(folder, {"a": level("v1")})
    write_wheel(folder, None, version="1.0.0", build="3")


OTHERS = [
    *(_several_values, _equal_best_values, _equal_properties, _longer_goes_first),
    *(_namespaces_the_other_way, _feature_order, _feature_order_of_nvidia),
    *(_upper_bounds, _lower_bounds, _not_among_the_static_properties, _an_optional_provider),
    *(_optional_static_properties, _an_unknown_namespace, _an_unknown_feature),
    *(_tags_within_a_group, _a_variant_goes_before_a_better_tag, _no_tag_fits, _build_tags),
    *(_a_tag_goes_before_a_build, _builds_of_plain_wheels, _a_label_that_variants_json_lacks),
    *(_a_variant_without_wheel, _an_older_release, _a_newer_release_without_variants),
    *(_a_prerelease, _only_a_prerelease, _spellings_of_a_version),
    *(_a_prerelease_where_no_final_release_fits, _plain_linux_and_manylinux),
]


@pytest.mark.parametrize("write", OTHERS)
def test_other_cases(
    write: object, levels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, env = tmp_path / "dist", MACHINES["12.8 and sm_90"]
    assert callable(write)
    write(folder)
    taken = uv_takes(folder, tmp_path, env=env)
    assert taken is not None
    assert explained(folder, described(levels, env), tmp_path, capsys) == taken


def this_machine_gets(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str | None, str]:
    """What ``explain`` says of this machine, without a description, and its notes."""
    main(["explain", str(folder), "--json"])
    said = capsys.readouterr()
    chosen: str | None = json.loads(said.out)["chosen"]
    return chosen, said.err


@pytest.mark.parametrize(
    ("provider", "known"),
    [
        (X86_64, True),
        ({"requires": ["x86_64.variant_provider>=0.0.1,<1"]}, True),
        ({**X86_64, "plugin-api": "x86_64_variant_provider"}, True),
        ({**X86_64, "plugin-api": "x86_64_variant_provider.plugin:Plugin"}, False),
        ({"requires": ["x86-64-variant-provider==0.0.1"]}, False),
        ({"requires": ["x86-64-variant-provider; python_version > '3'"]}, False),
        ({"requires": [*X86_64["requires"], "packaging"]}, False),
        ({"requires": ["provider-variant-x86-64"]}, False),
        ({"builtin": "x86_64"}, False),
    ],
)
def test_this_machine_gets_what_uv_takes_of_the_levels(
    provider: Mapping[str, object],
    known: bool,
    levels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a description and without running a plugin; and uv is told of where it has none."""
    variants = {one: level(one) for one in ("v4", "v3", "v2", "v1", "v9")}
    folder = tmp_path / "dist"
    write_release(folder, {**variants, "null": {}}, providers={"x86_64": provider})
    label = levels[0] if known and levels else "null"
    chosen, said = this_machine_gets(folder, capsys)
    assert chosen == uv_takes(folder, tmp_path) == f"demo-1.0-py3-none-any-{label}.whl"
    unknown = not known and "requires" in provider
    assert ("uv installs no variant that needs x86_64" in said) == unknown


NVIDIA_SMI = """#!/bin/sh
case "$*" in
*compute_cap*) printf '8.6\\n8.0\\n' ;;
*driver_version*) echo 570.86.15 ;;
*) printf 'Driver Version      : 570.86.15\\nCUDA Version        : 12.4\\n' ;;
esac
"""


@pytest.mark.parametrize("machine", [*MACHINES, "nvidia-smi", "12.8 alone", "malformed"])
def test_this_machine_gets_what_uv_takes_for_a_gpu(
    machine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = MACHINES.get(machine, {})
    if machine == "12.8 alone":
        env = {DRIVER: "12.8"}
    elif machine == "malformed":
        env = {DRIVER: "12.8", SM_ARCH: "90"}
    elif machine == "nvidia-smi":
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(NVIDIA_SMI, encoding="utf-8")
        tool.chmod(0o755)
        env = {"PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}"}
    for key, value in env.items():
        monkeypatch.setenv(key, value)
    folder = tmp_path / "dist"
    values = {
        "cuda_version_lower_bound": ("11", "12.4", "12.5", "12.8", "13.0"),
        "cuda_version_upper_bound": ("12.4", "12.6", "13", "13.1"),
        "sm_arch": ("90_real", "86_real", "80_real", "80_virtual", "75_real"),
    }
    variants = {
        f"{feature}_{value}": {"nvidia": {feature: [value]}}
        for feature, several in values.items()
        for value in several
    }
    while variants:
        write_release(folder, {**variants, "null": {}}, namespaces=("nvidia",))
        chosen, _ = this_machine_gets(folder, capsys)
        assert chosen == uv_takes(folder, tmp_path / f"{len(variants)}")
        label = str(chosen).removesuffix(".whl").rpartition("-")[2]
        if label == "null":
            break
        del variants[label]
        (folder / str(chosen)).unlink()
    assert (len(variants) < 14) == (machine not in {"no GPU", "malformed"})


def test_this_machine_gets_null_of_what_is_for_aarch64(
    levels: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not levels:
        pytest.skip("needs an x86-64 machine")
    folder = tmp_path / "dist"
    write_release(
        folder,
        {"a": {"aarch64": {"version": ["8a"]}}, "null": {}},
        namespaces=("aarch64",),
        providers={"aarch64": {"requires": ["aarch64-variant-provider"]}},
    )
    chosen, _ = this_machine_gets(folder, capsys)
    assert chosen == uv_takes(folder, tmp_path) == "demo-1.0-py3-none-any-null.whl"


def test_the_provider_of_nvidia_needs_its_plugin_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in MACHINES["12.8 and sm_90"].items():
        monkeypatch.setenv(key, value)
    folder = tmp_path / "nvidia"
    bare = {"requires": NVIDIA["requires"]}
    variants = {"a": CUDA["cu118"]}
    write_release(folder, variants, namespaces=("nvidia",), providers={"nvidia": bare})
    chosen, said = this_machine_gets(folder, capsys)
    assert chosen == uv_takes(folder, tmp_path) == "demo-1.0-py3-none-any.whl"
    assert 'plugin-api = "nvidia_variant_provider.plugin:NvidiaVariantPlugin"' in said


@pytest.mark.parametrize(
    "change",
    [
        {"default-priorities": {"namespace": ["x86_64"], "feature": {"x86_64": ["level"]}}},
        {"providers": {"x86_64": {**X86_64, "enable-if": "python_version > '3'"}}},
        {"providers": {}},
        {"variants": {"a": {**level("v1"), "abi_dependency": {"packaging": ["26"]}}}},
        {"new-in-0.3": True},
        {"providers": {"x86_64": {**X86_64, "new-in-0.3": True}}},
        {"providers": {"x86_64": {"static-properties": {"level": ["v1"], "aes": ["on"]}}}},
    ],
)
def test_where_uv_passes_over_a_release_and_polywheel_does_not(
    change: Mapping[str, object],
    levels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The deviations that docs/systems.md lists, each with a note: they are gone when this fails."""
    folder = tmp_path / "dist"
    document = write_release(folder, {"a": level("v1")})
    path = folder / "demo-1.0-variants.json"
    path.write_text(json.dumps({**document, **change}), encoding="utf-8")
    own = {**document, "variants": change.get("variants", document["variants"])}
    write_wheel(folder, "a", document=own)
    assert uv_takes(folder, tmp_path) is None
    (tmp_path / "system.toml").write_text(described(levels, {}), encoding="utf-8")
    assert main(["explain", str(folder), "--system", str(tmp_path / "system.toml")]) == 0
    assert "uv skips " in capsys.readouterr().err


def test_uv_needs_the_file_and_takes_any_schema(levels: list[str], tmp_path: Path) -> None:
    if not levels:
        pytest.skip("needs an x86-64 machine")
    folder = tmp_path / "dist"
    document = write_release(folder, {"a": level("v1")})
    path = folder / "demo-1.0-variants.json"
    newer = {**document, "$schema": "https://packaging.python.org/v2.0.0.json"}
    path.write_text(json.dumps(newer), encoding="utf-8")
    assert uv_takes(folder, tmp_path / "newer") == "demo-1.0-py3-none-any-a.whl"
    path.unlink()
    assert uv_takes(folder, tmp_path / "none") == "demo-1.0-py3-none-any.whl"


HERE = ".".join(map(str, sys.version_info[:3]))
NEXT = f"{sys.version_info[0]}.{sys.version_info[1] + 1}"
SPECIFIERS = [
    *(f"<{HERE}", f"<={NEXT}", f"!={HERE}", f">={HERE}", f">{HERE}", f">={NEXT}", f"~={NEXT}"),
    *("==3.9.*", f"=={NEXT}.*", ">=3.8.*", ">=3.8,", "!=3.0*", ">= '3.8'", "3.8", "nonsense"),
    *("===3.9", f">=3.8,<{NEXT}", ">3.8.", "*"),
]


@pytest.mark.parametrize("specifier", SPECIFIERS)
def test_what_uv_regards_of_requires_python(
    specifier: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dist"
    folder.mkdir()
    write_wheel(folder, None, headers=f"Requires-Python: {specifier}\n")
    chosen, _ = this_machine_gets(folder, capsys)
    assert chosen == uv_takes(folder, tmp_path)


METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
NEWER = "Requires-Python: >=3.99\n"


def _variant_json(label: str, best: str) -> str:
    document = {
        "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
        "default-priorities": {"namespace": ["x86_64"]},
        "providers": {"x86_64": X86_64},
        "variants": {label: level(best)},
    }
    return json.dumps(document)


@pytest.mark.parametrize(
    ("member", "content", "said"),
    [
        (None, None, "not a zip archive"),
        ("METADATA", None, "METADATA"),
        ("METADATA", "nonsense", "METADATA names ''"),
        ("METADATA", METADATA + NEWER, "it requires Python >=3.99"),
        ("variant.json", None, "it has no variant.json"),
        ("variant.json", "{", "variant metadata is not JSON"),
        (
            "variant.json",
            _variant_json("a", "v1").replace("$schema", "schema"),
            "$schema is missing",
        ),
        ("variant.json", _variant_json("b", "v1"), "variant.json differs from the variant"),
    ],
)
def test_where_the_best_wheel_is_broken_uv_takes_nothing_of_the_release(  # noqa: PLR0917 -- the case, and fixtures
    member: str | None,
    content: str | None,
    said: str,
    levels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither another wheel nor an sdist, though variants.json says nothing of the fault."""
    if not levels:
        pytest.skip("needs an x86-64 machine")
    folder = tmp_path / "dist"
    write_release(folder, {"a": level("v1"), "null": {}})
    write_release(folder, {"b": level("v1")}, version="0.9")
    wheel = folder / "demo-1.0-py3-none-any-a.whl"
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if member is None:
        wheel.write_bytes(b"")
    else:
        path = f"demo-1.0.dist-info/{member}"
        del files[path]
        if content is not None:
            files[path] = content.encode()
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, one in files.items():
                archive.writestr(name, one)
    taken = uv_takes(folder, tmp_path)
    assert explained(folder, described(levels, {}), tmp_path, capsys) == taken
    assert taken == "demo-0.9-py3-none-any-b.whl"
    main(["explain", str(folder)])
    assert f"{wheel.name} rejected: " in (told := capsys.readouterr().out)
    assert said in told

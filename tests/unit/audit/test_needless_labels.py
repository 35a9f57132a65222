"""Labels that make no difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from polywheel.audit.findings import Check, Severity
from polywheel.audit.needless_labels import (
    check_same_content,
    check_unused_extensions,
    read_content,
)
from polywheel.errors import WheelError
from support.wheels import FIELDS, FILES, INFO, VARIANT_JSON, wheel_files, zipped

V3, BF16 = "x86_64 :: level :: v3", "x86_64 :: avx512_bf16 :: on"
ADDED = {V3: {"AVX", "AVX2", "FMA"}, BF16: {"AVX512_BF16"}}


def test_properties_whose_instructions_no_code_uses_are_noted() -> None:
    (finding,) = check_unused_extensions(ADDED, {"SSE2", "AVX512_BF16"})
    assert (finding.severity, finding.check) == (Severity.NOTE, Check.UNUSED_LEVEL)
    assert finding.what == f"the label declares '{V3}', but no code uses its instructions"
    assert finding.hint == "it would allow AVX, AVX2, FMA"
    assert list(check_unused_extensions(ADDED, {"FMA", "AVX512_BF16"})) == []


def test_the_lowest_level_adds_nothing_and_is_not_noted() -> None:
    assert list(check_unused_extensions({"x86_64 :: level :: v1": set()}, set())) == []


def metadata(label: str, *more: str) -> bytes:
    lines = [f"Variant-Label: {label}", f"Variant-Property: x86_64 :: level :: {label}", *more]
    return FIELDS + "".join(f"{line}\n" for line in lines).encode()


def write(
    folder: Path, label: str | None, files: dict[str, bytes], tags: str = "py3-none-any"
) -> Path:
    suffix = "" if label is None else f"-{label}"
    wheel = folder / f"demo-1.0-{tags}{suffix}.whl"
    wheel.write_bytes(zipped(files))
    return wheel


def warnings(*wheels: tuple[Path, str | None]) -> dict[str, list[str]]:
    found = check_same_content(read_content(path, label) for path, label in wheels)
    for findings in found.values():
        for finding in findings:
            assert (finding.severity, finding.check) == (Severity.WARNING, Check.SAME_CONTENT)
    return {path.stem: [one.what for one in findings] for path, findings in found.items()}


def test_wheels_that_differ_only_in_their_labels_name_each_other(tmp_path: Path) -> None:
    sbom = {f"{INFO}/sboms/auditwheel.cdx.json": b"built at noon"}
    v2 = write(tmp_path, "v2", wheel_files(FILES, metadata("v2")))
    v3 = {VARIANT_JSON: b"{}", **wheel_files({**FILES, **sbom}, metadata("v3"))}
    other = wheel_files({**FILES, "demo/data.bin": b"faster"}, metadata("v4"))
    found = warnings(
        (v2, "v2"),
        (write(tmp_path, "v3", v3), "v3"),
        (write(tmp_path, "v4", other), "v4"),
        (write(tmp_path, None, wheel_files()), None),
    )
    what = "the same content has several labels: 'v2', 'v3', the wheel without a label"
    assert found == {f"demo-1.0-py3-none-any{label}": [what] for label in ("-v2", "-v3", "")}


def test_a_non_variant_wheel_and_the_null_variant_may_have_the_same_content(tmp_path: Path) -> None:
    null = write(tmp_path, "null", wheel_files(FILES, FIELDS + b"Variant-Label: null\n"))
    assert warnings((null, "null"), (write(tmp_path, None, wheel_files()), None)) == {}


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ({**FILES, "demo/more.py": b""}, metadata("v3")),
        ({**FILES, f"{INFO}/entry_points.txt": b"[x]\n"}, metadata("v3")),
        (FILES, metadata("v3", "Requires-Dist: openblas")),
    ],
)
def test_other_files_and_other_dependencies_are_a_difference(
    files: dict[str, bytes], fields: bytes, tmp_path: Path
) -> None:
    v2 = write(tmp_path, "v2", wheel_files(FILES, metadata("v2")))
    assert warnings((v2, "v2"), (write(tmp_path, "v3", wheel_files(files, fields)), "v3")) == {}


def test_wheels_for_other_pythons_are_not_compared(tmp_path: Path) -> None:
    v2 = write(tmp_path, "v2", wheel_files(FILES, metadata("v2")))
    v3 = write(tmp_path, "v3", wheel_files(FILES, metadata("v3")), "py311-none-any")
    assert warnings((v2, "v2"), (v3, "v3")) == {}


def test_a_damaged_wheel_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "demo-1.0-py3-none-any-v2.whl").write_bytes(b"PK")
    with pytest.raises(WheelError, match="v2"):
        read_content(tmp_path / "demo-1.0-py3-none-any-v2.whl", "v2")

"""GPU architectures of files against those of the label."""

from __future__ import annotations

import pytest

from polywheel.audit.binaries import Section
from polywheel.audit.device_code import DeviceCode, read_device_code
from polywheel.audit.expectations import file_expectations
from polywheel.audit.findings import Check, Finding, Severity
from polywheel.audit.gpu import check_device_code
from polywheel.model.variant import VariantProperty
from support.cuda import cuda_code, hip_code

ERROR, WARNING, NOTE = Severity


def with_code(content: bytes, section: str = ".nv_fatbin") -> DeviceCode:
    return read_device_code([Section(section, 0, memoryview(content))])


def cuda(*names: str) -> DeviceCode:
    return with_code(cuda_code(*names))


def hip(*names: str) -> DeviceCode:
    return with_code(hip_code(*names), ".hip_fatbin")


def check(files: dict[str, DeviceCode], *properties: str) -> list[Finding]:
    label = [VariantProperty.parse(text) for text in properties]
    findings = list(check_device_code(files, file_expectations(label)))
    assert all(one.check in {Check.GPU_ARCHITECTURES, Check.FILE} for one in findings)
    return findings


def summary(findings: list[Finding]) -> list[tuple[Severity, str | None, str]]:
    return [(finding.severity, finding.file, finding.what) for finding in findings]


def nvidia(*values: str) -> list[str]:
    return [f"nvidia :: sm_arch :: {value}" for value in values]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (["80_real"], ["80_real"]),
        (["80_real", "90_virtual"], ["80_real", "90_virtual"]),
        (["90a_real", "100f_real"], ["90a_real", "100f_real"]),
        (["80"], ["80_real"]),
        (["80"], ["80_virtual"]),
        (["80"], ["80_real", "80_virtual"]),
        (["80_virtual"], ["80_real", "80_virtual"]),  # what PyTorch makes of 8.0+PTX
    ],
)
def test_code_that_is_what_the_label_says(values: list[str], code: list[str]) -> None:
    files = {"a/_core.so": cuda(*code), "a/_other.so": DeviceCode()}
    assert check(files, *nvidia(*values)) == []


def test_missing_code_is_an_error_that_names_what_is_there() -> None:
    (finding,) = check({"a.so": cuda("80_real")}, *nvidia("80_real", "90_real", "100_virtual"))
    assert finding == Finding(
        severity=ERROR,
        check=Check.GPU_ARCHITECTURES,
        file="a.so",
        what="device code of the label is missing: 100_virtual, 90_real",
        hint="the file has 80_real",
    )


def test_code_that_runs_in_place_of_the_missing_code_is_a_warning() -> None:
    findings = check({"a.so": cuda("80_real", "80_virtual")}, *nvidia("86_real", "90_real"))
    what = (
        "device code of the label is missing: 86_real (80_real, 80_virtual will run instead), "
        "90_real (80_virtual will run instead)"
    )
    assert summary(findings) == [(WARNING, "a.so", what)]


def test_code_that_other_files_have_is_a_note() -> None:
    files = {"a.so": cuda("80_real"), "b.so": cuda("90a_real"), "c.so": cuda("80_real", "90a_real")}
    assert summary(check(files, *nvidia("80_real", "90a_real"))) == [
        (NOTE, "a.so", "device code of the label is missing: 90a_real, which other files have"),
        (NOTE, "b.so", "device code of the label is missing: 80_real, which other files have"),
    ]


def test_code_beyond_the_label_is_a_warning() -> None:
    findings = check({"a.so": cuda("75_real", "80_real", "80_virtual")}, *nvidia("80_real"))
    assert summary(findings) == [
        (WARNING, "a.so", "device code that the label does not declare: 75_real, 80_virtual")
    ]


@pytest.mark.parametrize("files", [{}, {"a.so": DeviceCode()}, {"a.so": hip("gfx90a")}])
def test_no_device_code_at_all_is_an_error(files: dict[str, DeviceCode]) -> None:
    what = "the label declares 'nvidia :: sm_arch', but no file has device code for it"
    assert summary(check(files, *nvidia("80_real", "90_real"))) == [(ERROR, None, what)]


def test_the_one_file_with_an_empty_section_is_named() -> None:
    (finding,) = check({"a.so": DeviceCode(), "b.so": with_code(b"")}, *nvidia("80_real"))
    assert (finding.severity, finding.file) == (ERROR, "b.so")


def test_values_that_name_no_architecture_are_noted() -> None:
    findings = check(
        {"a.so": cuda("80_real"), "b.so": hip("gfx90a")},
        *nvidia("80_real", "hopper"),
        *("amd :: gfx_arch :: gfx90a", "amd :: gfx_arch :: mi300"),
    )
    assert summary(findings) == [
        (NOTE, None, "'amd :: gfx_arch :: mi300' names no architecture, not checked"),
        (NOTE, None, "'nvidia :: sm_arch :: hopper' names no architecture, not checked"),
    ]


def test_damage_is_a_warning_about_the_file_also_without_a_label() -> None:
    (finding,) = check({"a.so": with_code(cuda_code("80_real")[:-9])})
    assert (finding.severity, finding.check, finding.file) == (WARNING, Check.FILE, "a.so")
    assert finding.what == "the device code in .nv_fatbin is cut short"


@pytest.mark.parametrize(
    "prop", ["x86_64 :: level :: v3", "nvidia :: cuda_version_lower_bound :: 12"]
)
def test_a_label_without_architectures_says_nothing_about_device_code(prop: str) -> None:
    assert check({"a.so": cuda("80_real"), "b.so": hip("gfx90a")}, prop, "mine :: x :: y") == []


def amd(*values: str) -> list[str]:
    return [f"amd :: gfx_arch :: {value}" for value in values]


@pytest.mark.parametrize(
    ("values", "code", "expected"),
    [
        (["gfx90a"], ["gfx90a:xnack+", "gfx90a:xnack-"], []),
        (
            ["gfx90a", "gfx942"],
            ["gfx90a"],
            [(ERROR, "device code of the label is missing: gfx942")],
        ),
        (
            ["gfx1100", "gfx1201"],
            ["gfx11-generic", "gfx1201"],
            [
                (
                    WARNING,
                    "device code of the label is missing: gfx1100 (gfx11-generic will run instead)",
                )
            ],
        ),
        (
            ["gfx90a"],
            ["gfx90a", "gfx906", "gfx9-generic"],
            [(WARNING, "device code that the label does not declare: gfx9-generic, gfx906")],
        ),
    ],
)
def test_processors_of_amd(
    values: list[str], code: list[str], expected: list[tuple[Severity, str]]
) -> None:
    findings = check({"a.so": hip(*code)}, *amd(*values))
    assert summary(findings) == [(severity, "a.so", what) for severity, what in expected]

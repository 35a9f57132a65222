"""What the reports of all files say about a label."""

from __future__ import annotations

import pytest

from polywheel.audit.audit import _label_findings
from polywheel.audit.examine import FileReport, unreadable
from polywheel.audit.findings import Check
from polywheel.model.variant import VariantProperty

PROPERTIES = [
    VariantProperty.parse(text)
    for text in (
        *("nvidia :: sm_arch :: 80_real", "openmp :: provider :: gnu", "x86_64 :: level :: v3"),
        *("mine :: color :: red", "aarch64 :: version :: 8.2a"),
    )
]
EMPTY = FileReport(file="b.so")
MISSING = {Check.GPU_ARCHITECTURES, Check.LIBRARIES, Check.UNUSED_LEVEL}


def checks(*reports: FileReport) -> set[Check]:
    return {finding.check for finding in _label_findings(reports, PROPERTIES)}


def test_what_no_file_has_is_missing() -> None:
    assert checks(EMPTY) == checks() == MISSING


@pytest.mark.parametrize("machine", ["cuda", "amdgpu"])
def test_device_code_in_files_of_its_own_may_be_that_of_the_label(machine: str) -> None:
    kernel = FileReport(file="kernels/sm80.cubin", unchecked_machines=(machine,))
    assert checks(EMPTY, kernel) == set()


def test_in_a_wheel_with_an_unreadable_file_nothing_is_missing() -> None:
    assert checks(EMPTY, unreadable("a.so", "it is cut short")) == set()
    found = FileReport(file="c.so", libraries=("libiomp5.so",))
    assert checks(found, unreadable("a.so", "it is cut short")) == {Check.LIBRARIES}


def test_code_for_a_machine_that_is_not_checked_may_use_its_properties() -> None:
    arm = FileReport(file="a.so", unchecked_machines=("aarch64",))
    unused = [one.what for one in _label_findings([arm], PROPERTIES) if "instructions" in one.what]
    assert unused == [
        "the label declares 'x86_64 :: level :: v3', but no code uses its instructions"
    ]

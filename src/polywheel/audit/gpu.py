"""Check the device code of a wheel against the GPU architectures of its label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

from polywheel.audit.device_code import CudaArchitecture, DeviceCode
from polywheel.audit.expectations import Expectation
from polywheel.audit.findings import Check, Finding, Severity

A = TypeVar("A", CudaArchitecture, str)
"""An architecture."""


def check_device_code(
    files: Mapping[str, DeviceCode], expectations: Iterable[Expectation]
) -> Iterator[Finding]:
    """Yield findings about the GPU architectures in the files of a wheel.

    ``files`` has the device code of each file with machine code, by the name of the member.
    """
    for file, code in files.items():
        for damage in code.damage:
            yield Finding(severity=Severity.WARNING, check=Check.FILE, what=damage, file=file)
    for expectation in expectations:
        if expectation.files.device_code == "cuda":
            yield from _check_cuda(files, expectation)
        elif expectation.files.device_code == "hip":
            yield from _check_hip(files, expectation)


_CUDA_VALUE = re.compile("([0-9]{2,3})([af]?)(?:_(real|virtual))?")


def _check_cuda(files: Mapping[str, DeviceCode], expectation: Expectation) -> Iterator[Finding]:
    declared: dict[str, AbstractSet[CudaArchitecture]] = {}
    allowed: set[CudaArchitecture] = set()
    for value in expectation.values:
        match = _CUDA_VALUE.fullmatch(value)
        if match is None:
            yield _unknown(expectation, value)
            continue
        real, virtual = (
            CudaArchitecture(int(match[1]), match[2], is_virtual=is_virtual)
            for is_virtual in (False, True)
        )
        # CMake and others write 80 for both. PyTorch compiles PTX only together with machine code.
        declared[value] = {"real": {real}, "virtual": {virtual}}.get(match[3], {real, virtual})
        allowed |= {real, *declared[value]}
    found = {file: code.cuda for file, code in files.items() if code.has_cuda}
    yield from _compare(found, declared, allowed, CudaArchitecture.runs_as, expectation)


_HIP_VALUE = re.compile("gfx[0-9a-z_]+")


def _check_hip(files: Mapping[str, DeviceCode], expectation: Expectation) -> Iterator[Finding]:
    declared: dict[str, AbstractSet[str]] = {}
    for value in expectation.values:
        if _HIP_VALUE.fullmatch(value):
            declared[value] = {value}
        else:
            yield _unknown(expectation, value)

    def runs_as(code: str, value: str) -> bool:
        return code == value or value in expectation.files.generic.get(code, ())

    found = {file: code.hip for file, code in files.items() if code.has_hip}
    yield from _compare(found, declared, declared.keys(), runs_as, expectation)


def _unknown(expectation: Expectation, value: str) -> Finding:
    return _finding(
        Severity.NOTE, None, f"{expectation.property(value)!r} names no architecture, not checked"
    )


def _compare(
    found: Mapping[str, AbstractSet[A]],
    declared: Mapping[str, AbstractSet[A]],
    allowed: AbstractSet[A],
    runs_as: Callable[[A, A], bool],
    expectation: Expectation,
) -> Iterator[Finding]:
    """Compare the architectures of each file with those of the label.

    ``declared`` has the code that a value means: one of several. ``allowed`` is all code that belongs to a value.
    """
    if declared and not any(found.values()):
        what = f"the label declares '{expectation.feature}', but no file has device code for it"
        yield _finding(Severity.ERROR, next(iter(found), None), what)
        return
    everywhere = {code for codes in found.values() for code in codes}
    for file, codes in found.items():
        if not codes:
            continue
        substitutes: set[A] = set()
        missing: dict[Severity, list[str]] = {severity: [] for severity in Severity}
        for value, meant in declared.items():
            if codes & meant:
                continue
            usable = {code for code in codes if any(runs_as(code, other) for other in meant)}
            substitutes |= usable
            if usable:
                missing[Severity.WARNING].append(f"{value} ({_list(usable)} will run instead)")
            else:
                missing[Severity.NOTE if everywhere & meant else Severity.ERROR].append(value)
        for severity, values in missing.items():
            if values:
                where = ", which other files have" if severity is Severity.NOTE else ""
                text = f"device code of the label is missing: {', '.join(values)}{where}"
                yield _finding(severity, file, text, hint=f"the file has {_list(codes)}")
        if beyond := codes - allowed - substitutes:
            what = f"device code that the label does not declare: {_list(beyond)}"
            yield _finding(Severity.WARNING, file, what)


def _list(codes: AbstractSet[A]) -> str:
    return ", ".join(str(code) for code in sorted(codes))


def _finding(severity: Severity, file: str | None, what: str, hint: str | None = None) -> Finding:
    check = Check.GPU_ARCHITECTURES
    return Finding(severity=severity, check=check, what=what, file=file, hint=hint)

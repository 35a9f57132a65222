"""The architectures of device code, as compilers write it, and in damaged sections."""

from __future__ import annotations

import struct
import sys
import tracemalloc
import zlib
from collections.abc import Mapping
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.audit.binaries import Section
from polywheel.audit.device_code import (
    CudaArchitecture,
    DeviceCode,
    cuda_architectures,
    hip_processors,
    read_device_code,
)
from polywheel.errors import ConfigError
from support.cuda import bundle, cuda_code, fatbin, hip_code, recorded_code

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

RECORDED = recorded_code()


def read(sections: Mapping[str, bytes]) -> DeviceCode:
    return read_device_code(
        Section(name, 0, memoryview(content)) for name, content in sections.items()
    )


def cuda(content: bytes) -> tuple[list[str], list[str]]:
    """The architectures in a section, and the reports of damage."""
    damage: list[str] = []
    return [str(one) for one in cuda_architectures(memoryview(content), damage.append)], damage


def hip(content: bytes) -> tuple[list[str], list[str]]:
    damage: list[str] = []
    return list(hip_processors(memoryview(content), damage.append)), damage


@pytest.mark.parametrize("name", RECORDED)
def test_the_code_of_compilers(name: str) -> None:
    code = read(RECORDED[name].sections)
    assert [*map(str, sorted(code.cuda)), *sorted(code.hip)] == RECORDED[name].architectures
    assert code.damage == ()


def test_made_code_is_read_like_recorded_code() -> None:
    names = ["80_real", "90a_real", "100f_real", "90_virtual"]
    assert cuda(cuda_code(*names)) == (names, [])
    assert hip(hip_code("gfx90a:xnack+:sramecc-", "gfx11-generic")) == (
        ["gfx90a", "gfx11-generic"],
        [],
    )


@pytest.mark.parametrize(
    ("cuda_section", "hip_section"),
    [(".nv_fatbin", ".hip_fatbin"), (".nv_fatb", ".hip_fat"), ("__CUDA,.nv_fatbin", "x,.hip_fat")],
)
def test_the_names_of_sections_in_each_format(cuda_section: str, hip_section: str) -> None:
    code = read({cuda_section: cuda_code("80_real"), hip_section: hip_code("gfx942"), ".x": b""})
    assert (code.has_cuda, code.has_hip) == (True, True)
    assert {*map(str, code.cuda), *code.hip} == {"80_real", "gfx942"}
    assert read({".text": cuda_code("80_real")}) == DeviceCode()


def test_of_relocatable_code_only_ptx_is_used_if_there_is_linked_code() -> None:
    relocatable = {"__nv_relfatbin": cuda_code("80_real", "90_virtual")}
    linked = {".nv_fatbin": cuda_code("75_real")}
    assert {*map(str, read(relocatable).cuda)} == {"80_real", "90_virtual"}
    assert {*map(str, read(relocatable | linked).cuda)} == {"75_real", "90_virtual"}


def test_several_containers_with_padding_and_empty_ones() -> None:
    parts = [cuda_code("80_real"), bytes(24), fatbin(), cuda_code("90_real"), bytes(5)]
    assert cuda(b"".join(parts)) == (["80_real", "90_real"], [])


def test_code_for_the_linker_and_unknown_kinds_are_for_no_gpu() -> None:
    assert cuda(fatbin((8, 90, 0x11), (64, 90, 0x11), (2, 80, 0x11))) == (["80_real"], [])


def compressed(version: int, content: bytes, *, zlib_: bool = False) -> bytes:
    data = zlib.compress(content) if zlib_ else zstd.compress(content)
    sizes = {1: "<I", 2: "<II", 3: "<QQ"}[version]
    size = 16 + struct.calcsize(sizes) + len(data)
    header = struct.pack("<4sHH", b"CCOB", version, 0 if zlib_ else 1)
    header += struct.pack(sizes, *([size] if version > 1 else []), len(content))
    return header + bytes(8) + data


@pytest.mark.parametrize("zlib_", [False, True])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_compressed_bundles_of_each_version(version: int, zlib_: bool) -> None:
    first = hip_code("gfx90a", "gfx942") + bytes(range(256)) * 4000
    content = compressed(version, first, zlib_=zlib_).ljust(8192, b"\0")
    content += compressed(version, hip_code("gfx1100"), zlib_=zlib_).ljust(4096, b"\0")
    assert hip(content + hip_code("gfx1030")) == (["gfx90a", "gfx942", "gfx1100", "gfx1030"], [])


def test_without_zstandard_compressed_code_needs_the_extra() -> None:
    content = compressed(2, hip_code("gfx90a"))
    missing = dict.fromkeys(("compression.zstd", "backports.zstd"))
    with mock.patch.dict("sys.modules", missing), pytest.raises(ConfigError) as error:
        hip(content)
    assert "pip install 'polywheel[audit]'" in str(error.value)


# --- damaged and hostile sections ----------------------------------------------------------------

TWO = cuda_code("80_real", "90_real")


@pytest.mark.parametrize(
    ("content", "architectures", "damage"),
    [
        (TWO[:10], [], "is cut short"),
        (TWO[:-7], ["80_real", "90_real"], "is cut short"),
        (TWO[:100], ["80_real"], "is cut short"),
        (TWO[:6] + struct.pack("<H", 8) + TWO[8:], [], "has a container with a damaged header"),
        (TWO[:8] + struct.pack("<Q", 1 << 63) + TWO[16:], ["80_real", "90_real"], "is cut short"),
        (TWO[:20] + struct.pack("<I", 0) + TWO[24:], [], "has a damaged entry"),
        (fatbin()[:8] + struct.pack("<Q", 1 << 63), [], "is cut short"),
        (TWO[:24] + struct.pack("<Q", 1 << 63) + TWO[32:], [], "has a damaged entry"),
    ],
)
def test_damaged_fatbins(content: bytes, architectures: list[str], damage: str) -> None:
    found, reports = cuda(content)
    assert found == architectures
    assert reports == [damage]
    code = read({".nv_fatbin": content})
    assert f"the device code in .nv_fatbin {damage}" in code.damage


BUNDLE = hip_code("gfx90a")
CCOB = compressed(2, BUNDLE)


@pytest.mark.parametrize(
    ("content", "damage"),
    [
        (BUNDLE[:28], "has a damaged bundle"),
        (BUNDLE[:60], "has a bundle with a damaged table"),
        (
            BUNDLE[:24] + struct.pack("<Q", 1 << 60) + BUNDLE[32:],
            "has a bundle with a damaged table",
        ),
        (
            BUNDLE[:48] + struct.pack("<Q", 1 << 60) + BUNDLE[56:],
            "has a bundle with a damaged table",
        ),
        (CCOB[:20], "is cut short"),
        (CCOB[:-4], "has a damaged bundle"),
        (CCOB[:24] + bytes(100), "has a damaged bundle: "),
        (compressed(3, b"no bundle" * 9), "has a damaged bundle"),
        (compressed(2, BUNDLE, zlib_=True)[:30] + bytes(90), "has a damaged bundle"),
        (BUNDLE + BUNDLE[:-2], "is cut short"),
        (BUNDLE[:32] + struct.pack("<Q", 1 << 63) + BUNDLE[40:], "is cut short"),
        (CCOB[:8] + struct.pack("<I", 1 << 31) + CCOB[12:], "is cut short"),
    ],
)
def test_damaged_bundles(content: bytes, damage: str) -> None:
    _, reports = hip(content)
    assert any(report.startswith(damage) for report in reports), reports


def test_after_a_damaged_bundle_the_others_are_read() -> None:
    damaged = CCOB[:24] + bytes(len(CCOB) - 24)
    processors, damage = hip(damaged + hip_code("gfx1100"))
    assert processors == ["gfx1100"]
    assert len(damage) == 1


def test_a_bundle_that_inflates_to_much_is_read_in_little_memory() -> None:
    content = compressed(3, bundle(["hip-amdgcn-amd-amdhsa--gfx906"]) + bytes(50_000_000))
    tracemalloc.start()
    try:
        assert hip(content) == (["gfx906"], [])
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_number_of_entries_and_bundles_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polywheel.audit.device_code._MOST_ENTRIES", 30)
    assert cuda(cuda_code("80_real") * 40) == (["80_real"] * 30, ["has too many entries"])
    monkeypatch.setattr("polywheel.audit.device_code._MOST_BUNDLES", 3)
    assert hip(hip_code("gfx90a") * 4) == (["gfx90a"] * 3, ["has too many bundles"])
    assert hip(hip_code(*["gfx90a"] * 1001)) == ([], ["has a bundle with a damaged table"])


@given(st.sampled_from([TWO, BUNDLE, CCOB]), st.data())
def test_changed_bytes_never_fail(content: bytes, data: st.DataObject) -> None:
    changed = bytearray(content * 2)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    for reader in (cuda, hip):
        reader(bytes(changed[: data.draw(st.integers(0, len(changed)))]))


@pytest.mark.parametrize(
    ("code", "label", "runs"),
    [
        ("80_real", "80_real", True),
        ("80_real", "86_real", True),  # same major, later minor
        ("86_real", "80_real", False),
        ("80_real", "90_real", False),
        ("80_virtual", "90_real", True),  # compiled when it is loaded
        ("90_virtual", "80_real", False),
        ("90_real", "90_virtual", False),  # no later GPU runs it
        ("80_virtual", "90_virtual", True),
        ("90a_real", "90_real", True),  # the same GPU
        ("90_real", "90a_real", True),
        ("100a_real", "103_real", False),
        ("100f_real", "103_real", True),  # the same family
        ("100f_real", "110_real", False),
        ("90a_virtual", "90_real", True),
        ("90a_virtual", "90_virtual", False),
        ("90a_virtual", "100_real", False),
        ("100f_virtual", "103_real", True),
        ("100f_virtual", "120_real", False),
        ("100f_virtual", "100_virtual", False),
        ("90_virtual", "90a_virtual", True),
    ],
)
def test_which_code_runs_in_place_of_another(code: str, label: str, runs: bool) -> None:
    def parsed(name: str) -> CudaArchitecture:
        (architecture,) = cuda_architectures(memoryview(cuda_code(name)), pytest.fail)
        return architecture

    assert parsed(code).runs_as(parsed(label)) is runs

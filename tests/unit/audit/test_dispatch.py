"""Functions with extensions, and the checks of the processor before them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import pytest

from polywheel.audit.binaries import Binary, Format, Section, Symbol
from polywheel.audit.code import Function as DecodedFunction
from polywheel.audit.code import Use, code_of
from polywheel.audit.dispatch import find_unchecked, is_named

VARIABLE, TABLE, STUB, GOT = 0x9000, 0x9100, 0x9200, 0x9300
AVX2 = Use(("AVX2",), 1, 0)


class File:
    """A file in which each function has 16 bytes, from address 0x1000."""

    def __init__(self, *functions: str, name: str = "core.so") -> None:
        self.starts = {function: 0x1000 + 16 * n for n, function in enumerate(functions)}
        self.name = name

    def _address(self, place: str | int) -> int:
        return self.starts[place] if isinstance(place, str) else place

    def _content(self, machine_code: Mapping[str, str]) -> memoryview:
        """The code of the file: functions in hexadecimal, else zeros."""
        parts = (bytes.fromhex(machine_code.get(name, "")) for name in self.starts)
        return memoryview(b"".join(part.ljust(16, b"\x90") for part in parts))

    def unchecked(
        self,
        calls: Mapping[str, tuple[str | int, ...]],
        *,
        extended: tuple[str, ...],
        asks: tuple[str, ...] = (),
        exported: tuple[str, ...] = ("run",),
        resolvers: tuple[str, ...] = (),
        table: tuple[str, ...] = (),
        imports: Mapping[int, str] | None = None,
        got: Mapping[int, str] | None = None,
        machine_code: Mapping[str, str] | None = None,
        used: tuple[str, ...] | None = None,
    ) -> list[str]:
        """The functions that run without a check. ``calls`` are references: functions, or places in the data."""
        starts = self.starts
        code = code_of(
            DecodedFunction(
                start,
                start + 16,
                (AVX2,) if name in extended else (),
                array("Q", (self._address(to) for to in calls.get(name, ()))),
                name in asks,
            )
            for name, start in starts.items()
        )
        binary = Binary(
            file=self.name,
            format=Format.ELF,
            machine="x86_64",
            sections=(
                Section(".text", 0x1000, self._content(machine_code or {}), True),
                Section(".got", GOT, memoryview(bytes(64)), writable=True),
            ),
            symbols=tuple(
                Symbol(name, at, 16, name in resolvers, name in exported)
                for name, at in starts.items()
            ),
            pointers={TABLE + 8 * n: starts[name] for n, name in enumerate(table)}
            | {at: starts[name] for at, name in (got or {}).items()},
            imports=imports or {},
        )
        numbers = [n for n, name in enumerate(starts) if name in extended]
        dispatch = find_unchecked(binary, code, numbers, names_used=lambda: used)
        return [[*starts][n] for n in sorted(dispatch.unchecked)]


def test_without_any_check_every_function_counts() -> None:
    file = File("run", "fast", "never")
    assert file.unchecked({"run": ("fast",)}, extended=("fast", "never")) == ["fast", "never"]


def test_what_a_function_with_cpuid_calls_is_checked() -> None:
    file = File("run", "fast")
    assert file.unchecked({"run": ("fast",)}, extended=("fast",), asks=("run",)) == []


def test_a_variable_that_a_function_with_cpuid_writes() -> None:
    file = File("init", "run", "fast", "other")
    calls = {"init": (VARIABLE,), "run": (VARIABLE, "fast")}
    found = file.unchecked(
        calls, extended=("fast", "other"), asks=("init",), exported=("run", "other")
    )
    assert found == ["other"]


def test_a_function_that_answers_for_its_callers() -> None:
    file = File("init", "has", "run", "fast")
    calls = {"init": (VARIABLE,), "has": (VARIABLE,), "run": ("has", "fast")}
    assert file.unchecked(calls, extended=("fast", "run"), asks=("init",)) == []


@pytest.mark.parametrize("name", ["__cpu_model", "getauxval", "av_get_cpu_flags"])
def test_imported_checks(name: str) -> None:
    file = File("run", "fast", "python")
    calls: dict[str, tuple[str | int, ...]] = {"run": (STUB, "fast")}
    extended = ("fast",)
    assert file.unchecked(calls, extended=extended, imports={STUB: name}) == []
    assert file.unchecked(calls, extended=extended, imports={STUB: "malloc"}) == ["fast"]


def test_a_kernel_that_code_without_extensions_calls_is_chosen_in_a_way_that_is_not_seen() -> None:
    file = File("init", "run", "kernel", "part")
    calls: dict[str, tuple[str | int, ...]] = {
        "init": (VARIABLE,),
        "run": ("kernel",),
        "kernel": ("part",),
    }
    assert file.unchecked(calls, extended=("kernel", "part"), asks=("init",)) == []


def test_functions_that_use_python_are_no_kernels() -> None:
    file = File("init", "run", "kernel", "part")
    calls: dict[str, tuple[str | int, ...]] = {
        "init": (VARIABLE,),
        "run": ("kernel",),
        "kernel": ("part", STUB),
    }
    imports = {STUB: "PyErr_SetString"}
    found = file.unchecked(calls, extended=("kernel", "part"), asks=("init",), imports=imports)
    assert found == ["kernel", "part"]


def test_functions_in_tables() -> None:
    file = File("init", "run", "export", "fast")
    calls: dict[str, tuple[str | int, ...]] = {"init": (VARIABLE, TABLE), "run": ()}
    assert file.unchecked(calls, extended=("fast",), asks=("init",), table=("fast",)) == []
    calls["run"] = (TABLE,)
    found = file.unchecked(
        calls, extended=("run", "fast"), asks=("init",), exported=("run",), table=("fast",)
    )
    assert found == ["run"]


def test_only_the_initializer_of_a_python_module_is_called_from_outside() -> None:
    file = File("init", "PyInit_core", "fast")
    exported = ("PyInit_core", "fast")
    calls: dict[str, tuple[str | int, ...]] = {"init": (VARIABLE,)}
    assert file.unchecked(calls, extended=("fast",), asks=("init",), exported=exported) == []
    exported = ("run", "fast")
    assert file.unchecked(calls, extended=("fast",), asks=("init",), exported=exported) == ["fast"]


def test_names_count_if_the_file_checks_the_processor() -> None:
    file = File("init", "dot_haswell")
    exported = ("dot_haswell",)
    calls: dict[str, tuple[str | int, ...]] = {"init": (VARIABLE,)}
    extended = ("dot_haswell",)
    assert file.unchecked(calls, extended=extended, asks=("init",), exported=exported) == []
    assert file.unchecked(calls, extended=extended, exported=exported) == ["dot_haswell"]


def test_a_file_for_a_processor() -> None:
    file = File("run", name="demo/_swig_avx2.so")
    assert file.unchecked({}, extended=("run",)) == []


def test_resolvers() -> None:
    file = File("run", "resolve", "fast")
    calls: dict[str, tuple[str | int, ...]] = {"run": (STUB,), "resolve": ("fast",)}
    assert file.unchecked(calls, extended=("fast",), resolvers=("resolve",)) == []


@pytest.mark.parametrize(
    "name",
    [
        "f.avx2.0",
        "f.arch_x86_64_v3.1",
        "sgemm_kernel_SKYLAKEX",
        "ZSTD_decompress_bmi2",
        "hash_sse42",
        "dgemv_n_NANO",
        "sgemm_kernel_ZEN",
        "_ZNK8simdjson8westmere14implementation6minifyEPKhmPhRm",
        "dot_fma",
        "cvt_f16c",
        "mkl_spblas_lp64_mc3_zbsrbv",
        "_ZN5faiss3addILNS_9SIMDLevelE2EEEvv",
    ],
)
def test_names_of_extensions_and_processors(name: str) -> None:
    assert is_named(name)


@pytest.mark.parametrize(
    "name",
    [
        *("add", "process", "PyInit__core", "assemble", "format", "parse", "nanosleep"),
        *("is_frozen", "fmaxf", "score2", "add_atom", "_ZN4core17h8af16c3e9d2b7a10E"),
    ],
)
def test_other_names(name: str) -> None:
    assert not is_named(name)


def test_checks_that_are_called_through_the_linkage_table() -> None:
    file = File("init", "has", "stub", "run", "fast")
    calls = {"init": (VARIABLE,), "has": (VARIABLE,), "stub": (GOT,), "run": ("stub", "fast")}
    extended, got = ("fast", "run"), {GOT: "has"}
    assert file.unchecked(calls, extended=extended, asks=("init",), got=got) == []
    found = file.unchecked(calls, extended=extended, asks=("init",), got={GOT: "fast"})
    assert found == ["run", "fast"]


# In a file with cpu, has, init, run:
STORE = "e8 eb ff ff ff 89 05 d5 83 00 00 c3"  # call has; mov [0x9400],eax; ret
STORE_OTHER = "e8 eb ff ff ff 89 0d d5 83 00 00 c3"  # call has; mov [0x9400],ecx; ret
CHECK_FIRST = "8b 05 ca 83 00 00 85 c0 74 04 c5 f5 fe c2 c3"  # if ([0x9400]) vpaddd
CHECK_LATER = "c5 f5 fe c2 8b 05 c6 83 00 00 c3"  # vpaddd; mov eax,[0x9400]


@pytest.mark.parametrize(
    ("init", "run", "expected"),
    [
        (STORE, CHECK_FIRST, []),
        (STORE_OTHER, CHECK_FIRST, ["run"]),
        (STORE, CHECK_LATER, ["run"]),
    ],
)
def test_variables_in_which_the_answer_of_a_check_is_kept(
    init: str, run: str, expected: list[str]
) -> None:
    file = File("cpu", "has", "init", "run")
    calls: dict[str, tuple[str | int, ...]] = {
        "cpu": (VARIABLE,),
        "has": (VARIABLE,),
        "init": ("has", 0x9400),
        "run": (0x9400,),
    }
    found = file.unchecked(
        calls, extended=("run",), asks=("cpu",), machine_code={"init": init, "run": run}
    )
    assert found == expected


def test_an_export_that_the_file_calls_only_after_checks() -> None:
    file = File("init", "run", "fast", "other")
    calls: dict[str, tuple[str | int, ...]] = {"init": (VARIABLE,), "run": (VARIABLE, "fast")}
    exported = ("run", "fast", "other")
    assert file.unchecked(calls, extended=("fast",), asks=("init",), exported=exported) == []
    # The same extension without a check elsewhere, or a second caller:
    found = file.unchecked(calls, extended=("fast", "other"), asks=("init",), exported=exported)
    assert found == ["fast", "other"]
    calls["other"] = ("fast",)
    found = file.unchecked(calls, extended=("fast",), asks=("init",), exported=exported)
    assert found == ["fast"]


def test_exports_that_no_other_file_of_the_wheel_uses() -> None:
    file = File("init", "run", "fast")
    calls: dict[str, tuple[str | int, ...]] = {"init": (VARIABLE,)}

    def unchecked(used: tuple[str, ...] | None) -> list[str]:
        exported = ("run", "fast")
        return file.unchecked(
            calls, extended=("fast",), asks=("init",), exported=exported, used=used
        )

    assert unchecked(("run",)) == []
    assert unchecked(("run", "fast")) == ["fast"]
    assert unchecked(None) == ["fast"]


@pytest.mark.parametrize(
    "name",
    [
        "sgemm_kernel_NEOVERSEV1",
        "dgemm_kernel_ARMV8SVE",
        "aes_v8_encrypt",
        "sha256_block_armv8",
        "crc32_arm_pmullx4",
        "av1_get_crc32c_value_arm_crc32",
        "vpx_sad16x16_neon_dotprod",
        "aom_highbd_convolve8_sve2",
        "ff_vvc_sad_16_neon_i8mm",
        "_ZN4x26521interp8_horiz_pp_i8mmILi4ELi4EEEvPKhlPhli",
        "_nettle_ghash_update_arm64",
        "_ZN5faiss13fvec_norm_L2sqrILNS_9SIMDLevelE5EEEfPKfm",
    ],
)
def test_names_of_extensions_and_processors_of_arm(name: str) -> None:
    assert is_named(name, "aarch64")


@pytest.mark.parametrize(
    "name", ["solve", "sha256_update", "crc32_z", "half_to_float", "add_neon", "dotted"]
)
def test_other_names_on_arm(name: str) -> None:
    assert not is_named(name, "aarch64")

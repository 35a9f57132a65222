"""The libraries that files need against the label."""

from __future__ import annotations

import pytest

from polywheel.audit.expectations import file_expectations
from polywheel.audit.findings import Check, Severity
from polywheel.audit.libraries import check_libraries, library_name
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import load_preset, preset_names

ERROR, WARNING, NOTE = Severity
GNU, OPENBLAS = "openmp :: provider :: gnu", "blas_lapack :: library :: openblas"
LOWER, UPPER = "nvidia :: cuda_version_lower_bound", "nvidia :: cuda_version_upper_bound"


def check(files: dict[str, list[str]], *properties: str) -> list[tuple[Severity, str | None, str]]:
    label = [VariantProperty.parse(text) for text in properties]
    needed = {file: tuple(libraries) for file, libraries in files.items()}
    findings = list(check_libraries(needed, file_expectations(label)))
    assert all(finding.check is Check.LIBRARIES for finding in findings)
    return [(finding.severity, finding.file, finding.what) for finding in findings]


@pytest.mark.parametrize(
    ("needed", "name"),
    [
        ("libgomp.so.1", "libgomp.so.1"),
        ("libgomp-a34b3233.so.1.0.0", "libgomp.so.1.0.0"),
        ("libopenblas64_p-r0-0cf96a72.3.23.dev.so", "libopenblas64_p-r0.3.23.dev.so"),
        ("libscipy_openblas64_-32a4b2a6.so", "libscipy_openblas64_.so"),
        ("libcudart-0d4f8a3b.so.12", "libcudart.so.12"),
        (
            "libscipy_openblas64_-63c857e738469261263c764a36be9436.dll",
            "libscipy_openblas64_.dll",
        ),
        (
            "libopenblas64__v0.3.23-293-gc2f4bdbb-gcc_10_3_0-2bde3a66a51006b2b53eb373ff767a3f.dll",
            "libopenblas64__v0.3.23-293-gc2f4bdbb-gcc_10_3_0.dll",
        ),
        ("@rpath/libomp.dylib", "libomp.dylib"),
        ("@loader_path/../.dylibs/libopenblas.0.dylib", "libopenblas.0.dylib"),
        (
            "/System/Library/Frameworks/Accelerate.framework/Versions/A/Accelerate",
            "accelerate",
        ),
        ("VCOMP140.DLL", "vcomp140.dll"),
        ("libgcc_s_seh-1.dll", "libgcc_s_seh-1.dll"),
        ("", ""),
    ],
)
def test_names_of_libraries(needed: str, name: str) -> None:
    assert library_name(needed) == name


@pytest.mark.parametrize(
    ("prop", "needed"),
    [
        (GNU, "libgomp.so.1"),
        (GNU, "libgomp-a34b3233.so.1.0.0"),
        (GNU, "libgomp-1.dll"),
        ("openmp :: provider :: llvm", "@rpath/libomp.dylib"),
        ("openmp :: provider :: llvm", "libomp.so.5"),
        ("openmp :: provider :: llvm", "libomp140.x86_64.dll"),
        ("openmp :: provider :: intel", "libiomp5.so"),
        ("openmp :: provider :: intel", "libiomp5md.dll"),
        (OPENBLAS, "libopenblas.so.0"),
        (OPENBLAS, "libopenblas64_p-r0-0cf96a72.3.23.dev.so"),
        (OPENBLAS, "libscipy_openblas64_-63c857e738469261263c764a36be9436.dll"),
        ("blas_lapack :: provider :: mkl", "libmkl_rt.so.2"),
        ("blas_lapack :: library :: mkl", "mkl_rt.2.dll"),
        (
            "blas_lapack :: provider :: accelerate",
            "/System/Library/Frameworks/Accelerate.framework/Versions/A/Accelerate",
        ),
        ("blas_lapack :: library :: netlib", "libblas.so.3"),
        ("blas_lapack :: library :: aocl", "libblis-mt.so.5"),
        ("blas_lapack :: library :: blis", "libblis.so.4"),
        (f"{LOWER} :: 12.8", "libcudart.so.12"),
        (f"{LOWER} :: 11.8", "libcudart.so.11.0"),
        (f"{LOWER} :: 11", "cudart64_110.dll"),
        (f"{LOWER} :: 13", "libcublasLt.so.13"),
        (f"{UPPER} :: 13", "libcudart-0d4f8a3b.so.12"),
        (f"{UPPER} :: 13.2", "libcudart.so.13"),
        ("amd :: rocm_version :: 6.4", "libamdhip64.so.6"),
        ("amd :: rocm_version :: 7.0", "amdhip64_7.dll"),
        (f"{LOWER} :: 12.8", "libcufft.so.11"),  # its version is not that of CUDA
        ("mine :: library :: openblas", "libmkl_rt.so.2"),
        ("x86_64 :: level :: v3", "libgomp.so.1"),
    ],
)
def test_libraries_of_the_label(prop: str, needed: str) -> None:
    assert check({"a.so": ["libc.so.6", needed, "libompl.so.16"]}, prop) == []


@pytest.mark.parametrize(
    ("prop", "needed", "what"),
    [
        (GNU, "libiomp5.so", "it needs libiomp5.so (intel), the label declares '{}'"),
        (
            "openmp :: provider :: llvm",
            "VCOMP140.DLL",
            "it needs VCOMP140.DLL (msvc), the label declares '{}'",
        ),
        (
            OPENBLAS,
            "libblis.so.4",
            "it needs libblis.so.4 (aocl or blis), the label declares '{}'",
        ),
        (
            "blas_lapack :: library :: netlib",
            "libopenblas-1a2b3c4d.so.0",
            "it needs libopenblas-1a2b3c4d.so.0 (openblas), the label declares '{}'",
        ),
        (f"{LOWER} :: 12.8", "libcudart.so.13", "it needs libcudart.so.13, newer than '{}'"),
        (
            f"{UPPER} :: 13",
            "libcudart.so.13",
            "it needs libcudart.so.13, which the label excludes: '{}'",
        ),
        (
            f"{UPPER} :: 12.9",
            "libcublas.so.13",
            "it needs libcublas.so.13, which the label excludes: '{}'",
        ),
        (
            "amd :: rocm_version :: 6.4",
            "libamdhip64.so.7",
            "it needs libamdhip64.so.7, newer than '{}'",
        ),
        (
            "amd :: rocm_version :: 7.0",
            "libamdhip64.so.6",
            "it needs libamdhip64.so.6, older than '{}'",
        ),
    ],
)
def test_libraries_that_contradict_the_label(prop: str, needed: str, what: str) -> None:
    assert check({"a.so": [needed]}, prop) == [(ERROR, "a.so", what.format(prop))]


def test_a_second_runtime_beside_that_of_the_label_is_a_warning() -> None:
    files = {"a.so": ["libgomp.so.1"], "a.libs/libmkl.so": ["libiomp5.so"]}
    what = f"it needs libiomp5.so (intel), the label declares '{GNU}'"
    assert check(files, GNU) == [(WARNING, "a.libs/libmkl.so", what)]


def test_a_library_whose_implementation_the_system_chooses_is_a_warning() -> None:
    what = (
        f"it needs libblas.so.3, which has several implementations, the label declares '{OPENBLAS}'"
    )
    assert check({"a.so": ["libblas.so.3"]}, OPENBLAS) == [(WARNING, "a.so", what)]
    assert check({"a.so": ["libblas.so.3", "libopenblas.so.0"]}, OPENBLAS) == []


def test_a_library_that_many_files_need_is_one_finding() -> None:
    needed = "@rpath/libomp.dylib"
    files = {"a.so": [needed], "b.so": ["libm.so.6"], "x/c.so": ["@loader_path/libomp.dylib"]}
    what = f"it needs {needed} (llvm), the label declares '{GNU}'; so does another file"
    assert check(files, GNU) == [(ERROR, "a.so", what)]
    files["d.so"] = [needed, needed]
    what = what.replace("does another file", "do 2 other files")
    assert check(files, GNU) == [(ERROR, "a.so", what)]


@pytest.mark.parametrize("files", [{}, {"a.so": []}, {"a.so": ["libm.so.6"]}])
def test_a_library_that_no_file_needs_is_a_note(files: dict[str, list[str]]) -> None:
    what = f"the label declares '{GNU}', but no file needs this library"
    assert check(files, GNU) == [(NOTE, None, what)]


def test_an_older_cuda_than_the_lower_bound_works_but_is_a_warning() -> None:
    what = f"it needs libcudart.so.12, older than '{LOWER} :: 13.0'"
    assert check({"a.so": ["libcudart.so.12"]}, f"{LOWER} :: 13.0") == [(WARNING, "a.so", what)]


@pytest.mark.parametrize("value", ["newest", "12.x", "1" * 5000])
def test_versions_that_are_none_are_not_compared(value: str) -> None:
    assert check({"a.so": ["libcudart.so.13"]}, f"{LOWER} :: {value}") == []


@pytest.mark.parametrize("name", preset_names())
def test_presets_have_expectations_of_their_own_features(name: str) -> None:
    preset = load_preset(name, at="here")
    assert preset.files.keys() <= preset.features.keys()
    assert bool(preset.version_libraries) == any(files.bound for files in preset.files.values())
    assert all(pattern.count("{major}") == 1 for pattern in preset.version_libraries)
    for feature, files in preset.files.items():
        values = preset.features[feature].values
        if files.libraries:
            assert set(values) <= files.libraries.keys()
        for several in files.generic.values():
            assert set(several) <= set(values)
        for pattern in (*files.interfaces, *sum(files.libraries.values(), ())):
            assert pattern == pattern.lower()

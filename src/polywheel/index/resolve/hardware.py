"""Detect the processor and GPU of this machine, as uv's built-in variant providers do.

Only system calls and, for the GPU, the driver's ``nvidia-smi`` are used. The names of features
and the rules are those of uv 0.13.9 (docs/systems.md). The features of each x86-64 level are
from the x86-64 psABI, "Micro-Architecture Levels", except that uv does not require ``xsave``,
which ``avx`` implies.
"""

from __future__ import annotations

import re
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from platform import machine

from polywheel.system.processes import capture_output

CPUINFO = Path("/proc/cpuinfo")
_AT_HWCAP = 16
_NVIDIA_SMI_SECONDS = 20
_MOST_OUTPUT = 4 * 1024 * 1024

_LEVELS: Mapping[str, frozenset[str]] = {
    "v2": frozenset({"cx16", "lahf_lm", "popcnt", "sse3", "sse4_1", "sse4_2", "ssse3"}),
    "v3": frozenset({"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}),
    "v4": frozenset({"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}),
}
"""The features that each x86-64 level adds to the one below it, in the spelling of Linux."""

_ALIASES = {
    "pni": "sse3",
    # macOS
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "avx1.0": "avx",
    "lahf": "lahf_lm",
    "lzcnt": "abm",
}

_VERSIONS: Mapping[str, int] = {
    # fp, asimd, crc32, atomics, asimdrdm
    "8.1a": 1 << 0 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 12,
    # dcpop
    "8.2a": 1 << 16,
    # jscvt, fcma, lrcpc, paca, pacg
    "8.3a": 1 << 13 | 1 << 14 | 1 << 15 | 1 << 30 | 1 << 31,
    # fphp, asimdhp, asimddp, asimdfhm, dit, uscat, ilrcpc, flagm
    "8.4a": 1 << 9 | 1 << 10 | 1 << 20 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26 | 1 << 27,
}
"""The bits of AT_HWCAP (Linux, arch/arm64/include/uapi/asm/hwcap.h) that each version adds."""

_APPLE_CORES = (
    *(base + core for base in (0x20, 0x30) for core in (0, 1, 2, 3, 4, 5, 8, 9)),
    *(base + core for base in (0x40, 0x50, 0x60) for core in (2, 3, 4, 5, 8, 9)),
)
_CORES: Mapping[str, Mapping[str, str]] = {
    "0x41": {"0xd0c": "8.2a", "0xd40": "8.4a", "0xd49": "8.4a", "0xd4f": "8.4a", "0xd83": "8.4a"},
    "0x42": {"0x516": "8.1a"},
    "0x43": {"0x0af": "8.1a"},
    "0x46": {"0x001": "8.2a"},
    "0x61": {f"0x{part:03x}": "8.4a" for part in _APPLE_CORES},
    "0x6d": {"0xd49": "8.4a"},
    "0xc0": {"0xac3": "8.4a", "0xac4": "8.4a"},
}
"""The cores for which uv knows more than the first version, by implementer and part."""

_APPLE = re.compile(r"Apple M[1-5]\b")


def architecture() -> str:
    """Return ``x86_64``, ``aarch64``, or another name of the architecture of this Python."""
    name = machine().lower()
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)
    if sys.maxsize < 2**32:
        name = {"x86_64": "i686", "aarch64": "armv8l"}.get(name, name)
    return name


def x86_64_levels() -> tuple[str, ...] | None:
    """Return the levels of this x86-64 processor, best first; None if only the first is certain."""
    flags: Sequence[str] = ()
    if sys.platform == "linux":
        flags = next(_cpuinfo_entries(), {}).get("flags", "").split()
    elif sys.platform == "darwin":
        flags = _macos_flags()
    return levels_of(flags) if flags else None


def levels_of(flags: Iterable[str]) -> tuple[str, ...]:
    """Return the levels of a processor with these feature flags, best first."""
    features = {_ALIASES.get(flag.lower(), flag.lower()) for flag in flags}
    levels = ["v1"]
    for level, required in _LEVELS.items():
        if not required <= features:
            break
        levels.append(level)
    return tuple(reversed(levels))


def _cpuinfo_entries() -> Iterator[Mapping[str, str]]:
    """Yield the entry of each processor, as Linux lists it."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # some sandboxes hide it
        return
    for entry in text.split("\n\n"):
        pairs = (line.partition(":") for line in entry.splitlines())
        yield {key.strip(): value.strip() for key, _, value in pairs}


def _macos_flags() -> Sequence[str]:
    names = ("machdep.cpu.features", "machdep.cpu.leaf7_features", "machdep.cpu.extfeatures")
    flags = " ".join(map(_sysctl, names)).split()
    # These are flags of the hardware, even if the kernel does not save the AVX-512 registers.
    if any(_sysctl("hw.optional.avx512f").encode("latin-1")):
        return flags
    return [flag for flag in flags if not flag.startswith("AVX512")]


def _sysctl(name: str) -> str:
    """Return a sysctl value of macOS, one character per byte; empty if there is none."""
    try:
        import ctypes

        sysctlbyname = ctypes.CDLL(None).sysctlbyname
    except (ImportError, AttributeError, OSError):
        return ""
    size, none = ctypes.c_size_t(), ctypes.c_size_t(0)
    failed = sysctlbyname(name.encode(), None, ctypes.byref(size), None, none)
    if failed or not size.value:
        return ""
    buffer = ctypes.create_string_buffer(size.value)
    if sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, none):
        return ""
    return buffer.raw[: size.value].decode("latin-1").rstrip("\0")


def aarch64_versions() -> tuple[str, ...] | None:
    """Return the versions of this AArch64 processor, best first; None if only ``8a`` is certain."""
    if sys.platform == "darwin":
        brand = _sysctl("machdep.cpu.brand_string")
        return _up_to("8.4a" if _APPLE.match(brand) else "8a") if brand else None
    if sys.platform != "linux":
        return None
    cores = {
        (entry.get("CPU implementer", ""), entry.get("CPU part", ""))
        for entry in _cpuinfo_entries()
        if "processor" in entry
    }
    capabilities = _hwcap()
    return versions_of(cores, capabilities) if cores and capabilities is not None else None


def versions_of(cores: Iterable[tuple[str, str]], hwcap: int) -> tuple[str, ...]:
    """Return the versions of a processor with these cores (implementer and part), best first.

    ``hwcap`` is AT_HWCAP of Linux. A version is supported if uv knows it for every core, and if
    the kernel reports all of its instructions.
    """
    per_core = [_up_to(_CORES.get(maker, {}).get(part, "8a")) for maker, part in cores]
    common = min(per_core, key=len, default=_up_to("8a"))
    versions = ["8a"]
    for version, bits in _VERSIONS.items():
        if version not in common or hwcap & bits != bits:
            break
        versions.append(version)
    return tuple(reversed(versions))


def _up_to(version: str) -> tuple[str, ...]:
    """Return a version and all older ones, best first."""
    every = ("8a", *_VERSIONS)
    return tuple(reversed(every[: every.index(version) + 1]))


def _hwcap() -> int | None:
    """Return AT_HWCAP of this process, which is also correct under emulation."""
    pair = struct.Struct("NN")
    try:
        content = Path("/proc/self/auxv").read_bytes()
    except OSError:
        return None
    whole = content[: len(content) // pair.size * pair.size]
    return dict(pair.iter_unpack(whole)).get(_AT_HWCAP)


Version = tuple[int, int]


def cuda_driver() -> Version | None:
    """Return the CUDA version of the driver's user mode, from ``nvidia-smi -q``.

    Returns None if there is no NVIDIA driver, or if it does not report a version.
    """
    pattern = r"^\s*CUDA (?:UMD )?Version\s*:\s*([0-9]{1,4})\.([0-9]{1,4})\s*$"
    match = re.search(pattern, _nvidia_smi("-q") or "", re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else None


def compute_capability() -> Version | None:
    """Return the highest compute capability of the GPUs; None if there is none."""
    text = _nvidia_smi("--query-gpu=compute_cap", "--format=csv,noheader") or ""
    versions = re.findall(r"^\s*([0-9]{1,4})\.([0-9]{1,4})\s*$", text, re.MULTILINE)
    return max(((int(major), int(minor)) for major, minor in versions), default=None)


def find_nvidia_smi() -> str | None:
    """Return the path of ``nvidia-smi``. The working folder, which Windows searches, is ignored."""
    path = shutil.which("nvidia-smi")
    if path is None or Path(path).resolve().parent == Path.cwd().resolve():
        return None
    return str(Path(path).absolute())


def _nvidia_smi(*arguments: str) -> str | None:
    """Run ``nvidia-smi`` and return its stdout; None if it is missing, fails, or takes too long."""
    path = find_nvidia_smi()
    if path is None:
        return None
    output = capture_output([path, *arguments], seconds=_NVIDIA_SMI_SECONDS)
    return None if output is None else output[:_MOST_OUTPUT].decode("utf-8", errors="replace")

"""Random machines: how uv is told of one, and the description that ``polywheel explain`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from polywheel.index.resolve.hardware import levels_of, versions_of
from polywheel.index.resolve.uv_providers import FORCED_ARCHITECTURE, FORCED_DRIVER, nvidia_features

V2 = ["pni", "ssse3", "cx16", "sse4_1", "sse4_2", "popcnt", "lahf_lm"]
V3 = ["fma", "movbe", "avx", "f16c", "abm", "bmi1", "avx2", "bmi2"]
V4 = ["avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"]
CORES = (("0x41", "0xd0c"), ("0x41", "0xd40"), ("0x41", "0xd08"), ("0xc0", "0xac3"), ("", ""))
MACOS = ((10, 15), (11, 0), (12, 3), (14, 0), (15, 1))


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine with one Python."""

    answer: Mapping[str, Any] | None
    """What uv is told of it by the interpreter; None for the machine that this runs on."""

    description: str
    """For ``--system``; empty for this machine, which is not described."""

    platforms: tuple[str, ...]
    """Platform tags of wheels, those that fit and others, in no order."""

    python: tuple[int, int]
    env: Mapping[str, str] = field(default_factory=dict)


def random_machine(random: Random, here: tuple[int, int]) -> Machine:
    """Any machine; ``here`` is the version of the Python that this runs on."""
    env = _gpu(random)
    if random.random() < 0.25:
        return Machine(
            answer=None, description="", platforms=_linux(random, "x86_64"), python=here, env=env
        )
    arch = random.choice(["x86_64", "x86_64", "aarch64"])
    python = (3, random.randint(9, 14))
    free_threaded = python >= (3, 13) and random.random() < 0.2
    system, tag, markers = _system(random, arch)
    supported, processor = _processor(random, arch)
    if FORCED_DRIVER in env:
        driver = _numbers(env[FORCED_DRIVER])
        gpu = _numbers(env[FORCED_ARCHITECTURE]) if FORCED_ARCHITECTURE in env else None
        supported["nvidia"] = {**nvidia_features(driver, gpu)}
    version = f"{python[0]}.{python[1]}.0"
    uv_arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch)
    answer = {
        "os": system,
        "arch": uv_arch,
        "cpu_info": processor,
        "gil_disabled": free_threaded,
        "manylinux_compatible": system["name"] in {"manylinux", "musllinux"},
        "markers": {
            **markers,
            "python_full_version": version,
            "python_version": version.rpartition(".")[0],
            "implementation_version": version,
        },
    }
    lines = [f'python = "{python[0]}.{python[1]}{"t" if free_threaded else ""}"']
    lines.append(f'platform = "{tag}"')
    for namespace, features in supported.items():
        lines.append(f"[supported.{namespace}]")
        lines.append(f"feature-order = {json.dumps(list(features))}")
        lines += [f"{feature} = {json.dumps(list(values))}" for feature, values in features.items()]
    platforms = _linux(random, arch)
    if system["name"] == "macos":
        platforms = _macos(random)
    elif system["name"] == "windows":
        platforms = ("win_amd64", "win_arm64", "win32", "any")
    return Machine(
        answer=answer,
        description="\n".join(lines),
        platforms=platforms,
        python=python,
        env=env,
    )


def _numbers(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _gpu(random: Random) -> dict[str, str]:
    env = {}
    if random.random() < 0.6:
        env[FORCED_DRIVER] = random.choice(["11.8", "12.4", "12.8", "13.0"])
        if random.random() < 0.8:
            env[FORCED_ARCHITECTURE] = random.choice(["7.5", "8.6", "9.0", "12.0"])
    return env


def _system(random: Random, arch: str) -> tuple[dict[str, Any], str, dict[str, str]]:
    """What uv is told of an operating system, the best platform tag, and the markers of it."""
    linux = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
    kind = random.choice(["manylinux", "manylinux", "musllinux", "macos", "windows"])
    if kind == "manylinux":
        minor = random.choice([17, 24, 28, 34, 39])
        system = {"name": "manylinux", "major": 2, "minor": minor}
        return system, f"manylinux_2_{minor}_{arch}", {**linux, "platform_machine": arch}
    if kind == "musllinux":
        minor = random.choice([1, 2])
        system = {"name": "musllinux", "major": 1, "minor": minor}
        return system, f"musllinux_1_{minor}_{arch}", {**linux, "platform_machine": arch}
    if kind == "macos":
        cpu = "arm64" if arch == "aarch64" else "x86_64"
        major, minor = random.choice([one for one in MACOS if one[0] > 10 or cpu == "x86_64"])
        system = {"name": "macos", "major": major, "minor": minor}
        markers = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"}
        tag = f"macosx_{major}_{minor if major == 10 else 0}_{cpu}"
        return system, tag, {**markers, "platform_machine": cpu}
    cpu = "ARM64" if arch == "aarch64" else "AMD64"
    markers = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
    tag = "win_arm64" if arch == "aarch64" else "win_amd64"
    return {"name": "windows"}, tag, {**markers, "platform_machine": cpu}


def _processor(
    random: Random, arch: str
) -> tuple[dict[str, dict[str, Sequence[str]]], dict[str, Any]]:
    """What is supported of a processor, and how uv is told of the processor."""
    if arch == "x86_64":
        flags = ["sse2"]
        for more in (V2, V3, V4)[: random.randint(0, 3)]:
            flags += more
        if random.random() < 0.3 and len(flags) > 1:
            flags.remove(random.choice(flags[1:]))
        told = {"detected": {"kind": "flags", "flags": " ".join(flags)}}
        return {"x86_64": {"level": levels_of(flags)}}, told
    cores = random.sample(CORES, random.randint(1, 2))
    hwcap = 2**32 - 1
    if random.random() < 0.4:
        hwcap &= ~(1 << random.choice([8, 13, 16, 20, 30]))
    detected = {"kind": "linux_aarch64", "cores": cores, "hwcaps": [hwcap, 0, 0, 0]}
    return {"aarch64": {"version": versions_of(cores, hwcap)}}, {"detected": detected}


def _linux(random: Random, arch: str) -> tuple[str, ...]:
    other = "aarch64" if arch == "x86_64" else "x86_64"
    many = [f"manylinux_2_{minor}_{arch}" for minor in (5, 17, 24, 28, 34, 39)]
    old = [f"manylinux1_{arch}", f"manylinux2014_{arch}", f"manylinux2010_{arch}"]
    musl = [f"musllinux_1_1_{arch}", f"musllinux_1_2_{arch}"]
    several = f"manylinux_2_17_{arch}.manylinux2014_{arch}"
    rest = [f"linux_{arch}", f"manylinux_2_17_{other}", "win_amd64", several, "any"]
    return tuple(random.sample([*many, *old, *musl, *rest], 8))


def _macos(random: Random) -> tuple[str, ...]:
    versions = ("10_9", "10_15", "11_0", "12_0", "14_0", "15_0")
    cpus = ("x86_64", "arm64", "universal2")
    tags = [f"macosx_{random.choice(versions)}_{random.choice(cpus)}" for _ in range(6)]
    return (*tags, "any")

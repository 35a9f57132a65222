"""What an installer's resolver has to do, measured: 1,000 variants read, chosen from and put in order."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable

from packaging.version import Version

from polywheel.formats.variant_order import SupportedValues
from polywheel.index.resolve.candidates import (
    CandidateFile,
    CandidateRelease,
    Inspection,
    ReleaseVariants,
    find_releases,
)
from polywheel.index.resolve.resolver import Resolver
from polywheel.index.resolve.systems import System, marker_environment, supported_tags
from polywheel.index.resolve.web import Link
from polywheel.model.variant import Variant

BOUND = 0.05
"""Seconds."""
LEVELS = ("v1", "v2", "v3", "v4")
LIBRARIES = ("openblas", "mkl", "blis", "atlas", "accelerate")
CUDA = tuple(f"12.{minor}" for minor in range(49, -1, -1))
"""Best first, as a provider lists them."""
SM_ARCHS = ("75_real", "80_real", "90_real")
SYSTEM: SupportedValues = {
    "x86_64": {"level": ["v3", "v2", "v1"]},
    "nvidia": {
        "cuda_version_lower_bound": CUDA[1:],
        "sm_arch": ["90_real", "90_virtual"],
    },
}


class Memory:
    """An index whose files are in memory: the network is not what is measured."""

    at = "memory"

    def __init__(self) -> None:
        product = list(itertools.product(LEVELS, LIBRARIES, CUDA))
        variants = {
            f"{level}_{library}_cu{cuda}": {
                "blas": {"library": [library]},
                "nvidia": {"cuda_version_lower_bound": [cuda], "sm_arch": list(SM_ARCHS)},
                "x86_64": {"level": [level]},
            }
            for level, library, cuda in product
        }
        self.count = len(variants)
        self.document = json.dumps(
            {
                "$schema": "https://variants-schema.wheelnext.dev/peps/850/v0.2.0.json",
                "default-priorities": {"namespace": ["nvidia", "x86_64", "blas"]},
                "providers": {
                    "nvidia": {"requires": ["nvidia-variant-provider"]},
                    "x86_64": {"requires": ["x86-64-variant-provider"]},
                    "blas": {"static-properties": {"library": list(LIBRARIES)}},
                },
                "variants": variants,
            }
        ).encode()
        names = [f"demo-1.0-py3-none-any-{label}.whl" for label in variants]
        self._links = [Link(filename=name, url=name) for name in names]
        self._links.append(Link(filename="demo-1.0-variants.json", url=""))

    def links(self) -> list[Link]:
        return self._links

    def variants_json(self, link: Link) -> bytes:  # noqa: ARG002 -- there is one
        return self.document

    def read_from_wheels(self, release: CandidateRelease) -> ReleaseVariants:
        raise NotImplementedError

    def inspect(self, _: CandidateFile, __: Variant | None, /) -> Inspection:
        return Inspection()


def median(measure: Callable[[], float], runs: int = 25) -> float:
    measure()
    return statistics.median(measure() for _ in range(runs))


def main() -> None:
    place = Memory()
    python = Version("3.12.0")
    system = System(
        name="described",
        at="system.toml",
        python=python,
        tags=supported_tags(python, "manylinux_2_28_x86_64", free_threaded=False),
        environment=marker_environment(python, "manylinux_2_28_x86_64"),
        supported=SYSTEM,
    )
    found = find_releases(place)

    def resolve() -> float:
        start = time.perf_counter()
        resolve = Resolver(place, found).resolve(system)
        seconds = time.perf_counter() - start
        assert resolve.chosen is not None
        assert resolve.chosen.label == "v3_openblas_cu12.48"
        return seconds

    def listing() -> float:
        start = time.perf_counter()
        find_releases(place)
        return time.perf_counter() - start

    seconds = median(resolve)
    verdict = "ok  " if seconds < BOUND else "OVER"
    what = f"explain: {place.count} variants read, chosen from, in order"
    print(f"{verdict}  {what:<58} {seconds * 1000:>9.1f} ms   bound {BOUND * 1000:.0f} ms")
    print(f"      {'(their filenames, parsed before that)':<58} {median(listing) * 1000:>9.1f} ms")


if __name__ == "__main__":
    main()

"""The extension module, here because its options depend on the platform; the rest is in pyproject.toml."""

import sys

from setuptools import Extension, setup

# Python's own CFLAGS may hold -O2, at which older compilers do not vectorise. On Windows setuptools
# asks MSVC for /O2, which does, and MSVC does not know -O3.
OPTIMISE: list[str] = [] if sys.platform == "win32" else ["-O3"]

setup(
    ext_modules=[
        Extension(
            "polywheel_example_setuptools._brighten",
            sources=["src/brighten.c"],
            extra_compile_args=OPTIMISE,
        )
    ]
)

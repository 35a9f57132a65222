"""The extension module. Its include folders, libraries, and flags come from the installed torch."""

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

setup(
    ext_modules=[CppExtension("polywheel_example_torch._squash", ["src/squash.cpp"])],
    cmdclass={"build_ext": BuildExtension.with_options(use_ninja=False)},
)

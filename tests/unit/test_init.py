"""``polywheel init``: found languages, chosen templates, composed tables, and the file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polywheel.config.project import Project, read_project
from polywheel.errors import ConfigError
from polywheel.init.compose import (
    PYTHONS,
    TARGETS,
    InitTables,
    compose,
    pythons,
    refuse_tables,
    targets,
)
from polywheel.init.languages import languages, meson_options
from polywheel.init.pyproject_file import append_text, find_init_text, with_header
from polywheel.init.templates import named_templates, start_axes, start_templates
from polywheel.matrix.expansion import expand
from polywheel.matrix.requires_python import RequiresPython
from polywheel.model.variant import VariantProperty
from polywheel.setup.presets import check_against_preset, load_preset

TEMPLATES = ("aarch64-levels", "blas", "cuda", "debug", "openmp", "rocm", "x86-64-levels")
BACKENDS = {
    "mesonpy": "meson-python",
    "scikit_build_core.build": "scikit-build-core",
    "setuptools.build_meta": "setuptools",
    "maturin": "maturin",
    "hatchling.build": "hatchling",
    "somebody.elses": "somebody-elses",
}


def project(
    folder: Path, files: Mapping[str, str] | None = None, backend: str = "mesonpy"
) -> Project:
    folder.mkdir(exist_ok=True)
    system = f'[build-system]\nrequires = ["{BACKENDS[backend]}"]\nbuild-backend = "{backend}"\n'
    for name, text in {"pyproject.toml": system, **(files or {})}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return read_project(folder, variants=False)


def found(folder: Path, files: Mapping[str, str]) -> dict[str, str]:
    one = project(folder, files)
    return languages(one.source, one.document)


def tables(start: InitTables) -> dict[str, Any]:
    return tomllib.loads(start.text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"meson.build": "project('x', 'c', 'cpp', version: 'cuda')"}, "c cpp"),
        ({"meson.build": "project('c', ['fortran', 'rust'])"}, "fortran rust"),
        ({"meson.build": "# project('x', 'c')\nproject('d')\nadd_languages('cuda')"}, "cuda"),
        ({"meson.build": "project('x#', 'cython') # 'c'"}, "cython"),
        ({"CMakeLists.txt": "project(x)"}, "c cpp"),
        (
            {"CMakeLists.txt": 'PROJECT(x VERSION 1 DESCRIPTION "in C" LANGUAGES CXX CUDA)'},
            "cpp cuda",
        ),
        ({"CMakeLists.txt": "# project(x C)\nproject(x NONE)\nenable_language(HIP)"}, "hip"),
        ({"CMakeLists.txt": "project(\n  x # LANGUAGES CUDA\n  LANGUAGES Fortran)"}, "fortran"),
        ({"Cargo.toml": "[package]"}, "rust"),
        ({"src/a.pyx": "", "src/b.cu": ""}, "cuda cython"),
        ({".tox/a.pyx": "", "build/b.cu": "", "venv/pyvenv.cfg": "", "venv/c.pyx": ""}, ""),
        ({"tests/data/a.c": ""}, ""),
        ({"examples/cuda/a.cu": "", "docs/b.pyx": "", "benchmarks/c.hip": ""}, ""),
        ({"src/x/tests/a.pyx": "", "tests/b.cu": ""}, "cython"),
        ({"setup.py": "setup(ext_modules=[Extension('a', ['a.c', 'b.cpp'])])"}, "c cpp"),
        ({"setup.py": "setup(ext_modules=cythonize('a.pyx'))"}, "cython"),
        ({"setup.py": "setup(ext_modules=[x.CUDAExtension('a', sources)])"}, "cuda"),
        ({"setup.py": "setup(rust_extensions=made())"}, "rust"),
        ({"setup.py": "setup(ext_modules=made())"}, "c"),
        ({"setup.py": "print 'ext_modules'"}, "c"),
        ({"setup.py": "setup(package_data={'': ['*.pyx', '*.c']})"}, ""),
        ({"setup.py": "\0"}, ""),
        ({"meson.build": "project("}, ""),
    ],
)
def test_languages(files: dict[str, str], expected: str, tmp_path: Path) -> None:
    assert " ".join(found(tmp_path, files)) == expected


SCRIPTS = {
    "poetry": '[tool.poetry.build]\nscript = "compile.py"',
    "poetry, short": '[tool.poetry]\nbuild = "compile.py"',
    "hatchling": '[tool.hatch.build.hooks.custom]\npath = "compile.py"',
    "hatchling, wheel": '[tool.hatch.build.targets.wheel.hooks.custom]\npath = "compile.py"',
    "pdm": '[tool.pdm.build]\ncustom-hook = "compile.py"',
    "in-tree": '[build-system]\nrequires = []\nbuild-backend = "compile"\nbackend-path = ["."]',
}


@pytest.mark.parametrize("tables", SCRIPTS.values(), ids=SCRIPTS)
def test_languages_that_a_build_script_compiles(tables: str, tmp_path: Path) -> None:
    files = {"pyproject.toml": tables, "compile.py": "run('cc')", "src/x/a.c": "", "tests/b.rs": ""}
    assert found(tmp_path, files) == {"c": "src/x/a.c"}
    files["compile.py"] = "setup(ext_modules=[Extension('a', ['a.cpp'])])"
    assert found(tmp_path, files) == {"c": "src/x/a.c", "cpp": "compile.py"}


def test_languages_that_a_build_script_named_in_hatch_toml_compiles(tmp_path: Path) -> None:
    hook = '[build.hooks.custom]\npath = "compile.py"'
    files = {"pyproject.toml": "", "hatch.toml": hook, "compile.py": "run('cc')", "src/x/a.c": ""}
    assert found(tmp_path, files) == {"c": "src/x/a.c"}


def test_languages_without_a_build_script(tmp_path: Path) -> None:
    files = {"pyproject.toml": SCRIPTS["poetry"], "src/x/a.c": ""}
    assert found(tmp_path, files) == {}, "compile.py is missing, so nothing compiles a.c"


def test_a_language_comes_with_the_file_that_tells_of_it(tmp_path: Path) -> None:
    files = {"CMakeLists.txt": "project(x LANGUAGES C)", "src/k/a.cu": ""}
    assert found(tmp_path, files) == {"c": "CMakeLists.txt", "cuda": "src/k/a.cu"}


def test_setup_py_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    found(
        tmp_path, {"setup.py": f"open({str(mark)!r}, 'w')\nsetup(ext_modules=[Extension('a', [])])"}
    )
    assert not mark.exists()


def test_pyproject_leads_to_files_in_the_project_only(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text("project(x)")
    (tmp_path / "Cargo.toml").write_text("")
    pyproject = '[tool.scikit-build]\ncmake.source-dir = ".."\n[tool.maturin]\nmanifest-path = "../Cargo.toml"'
    assert found(tmp_path / "inner", {"pyproject.toml": pyproject}) == {}
    inside = pyproject.replace("../Cargo.toml", "rust/Cargo.toml").replace('".."', '"native"')
    files = {
        "pyproject.toml": inside,
        "rust/Cargo.toml": "",
        "native/CMakeLists.txt": "project(x C)",
    }
    assert found(tmp_path / "inner", files) == {
        "c": "native/CMakeLists.txt",
        "rust": "rust/Cargo.toml",
    }


def test_setuptools_extensions_in_pyproject(tmp_path: Path) -> None:
    text = '[[tool.setuptools.ext-modules]]\nname = "a"\nsources = ["a.cc"]\n'
    assert found(tmp_path, {"pyproject.toml": text}) == {"cpp": "pyproject.toml"}


@pytest.mark.parametrize(
    ("requires", "listed", "expected"),
    [
        (None, [], PYTHONS),
        (">=3.13", [], ("3.13", "3.14")),
        (">=3.12.4,<3.14", [], ("3.12", "3.13")),
        (">=3.9", ["3.12", "3.9", "3.11", "3"], ("3.11", "3.12")),
        (">=3.12", ["3.11", "3.12"], ("3.12",)),
        (">=3.9", ["3.9", "3.10"], PYTHONS),
        (">=3.20", [], ("3.20",)),
        ("nonsense", [], PYTHONS),
    ],
)
def test_pythons(requires: str | None, listed: list[str], expected: tuple[str, ...]) -> None:
    classifiers = [f"Programming Language :: Python :: {one}" for one in listed]
    document = {"project": {"classifiers": classifiers}}
    assert pythons(document, RequiresPython(requires or "")) == expected


@pytest.mark.parametrize("requires", ["==3.8.*", "<3.11", ">=3.9,<3.10"])
def test_no_python_that_polywheel_builds_with(requires: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pythons({}, RequiresPython(requires))
    (problem,) = caught.value.problems
    assert problem.what == (
        "polywheel and its build backend need Python 3.11 or newer, which the project does not allow: "
        f"requires-python = {requires!r} (pyproject.toml: project.requires-python)"
    )


@pytest.mark.parametrize(
    ("listed", "note"),
    [
        (["3.12"], None),
        (["3.8", "3.12"], None),  # requires-python does not allow it
        (["3.10", "3.12"], "Python 3.10 in the classifiers is left out"),
        (["3.9", "3.10"], "Python 3.9, 3.10 in the classifiers are left out"),
    ],
)
def test_older_pythons_are_left_out_with_a_note(
    listed: list[str], note: str | None, tmp_path: Path
) -> None:
    text = "[project]\nname = 'x'\nversion = '1'\nrequires-python = '>=3.9'\nclassifiers = "
    text += str([f"Programming Language :: Python :: {python}" for python in listed])
    files = {"pyproject.toml": text, "meson.build": "project('x', 'c')"}
    start = compose(project(tmp_path, files), [])
    assert "3.10" not in tables(start)["tool"]["polywheel"]["matrix"]["python"]
    reason = "polywheel and its build backend need Python 3.11 or newer"
    notes = [one for one in start.notes if "Python" in one]
    assert notes == ([f"{note}: {reason}"] if note else [])


@pytest.mark.parametrize(
    ("systems", "expected"),
    [
        ([], TARGETS),
        (["OS Independent", "MacOS"], TARGETS),
        (["POSIX :: Linux"], ("linux-x86_64", "linux-aarch64")),
        (["MacOS :: MacOS X", "Microsoft :: Windows"], ("macos-arm64", "windows-x86_64")),
        (["POSIX"], ("linux-x86_64", "linux-aarch64", "macos-arm64")),
        (["PalmOS"], TARGETS),
    ],
)
def test_targets(systems: list[str], expected: tuple[str, ...]) -> None:
    classifiers = [f"Operating System :: {one}" for one in systems]
    assert targets({"project": {"classifiers": classifiers}}) == expected


def test_the_templates() -> None:
    assert sorted(start_templates()) == sorted(TEMPLATES)
    assert {one.axis for one in start_templates().values()} == set(start_axes())
    for one in start_templates().values():
        assert one.about, one.name
        assert one.provider, one.name


def test_values_are_those_that_the_build_setup_presets_know() -> None:
    for one in start_templates().values():
        properties = [
            VariantProperty.parse(text) for value in one.values for text in value.properties
        ]
        assert {prop.namespace for prop in properties} == {one.namespace}
        for prop in properties if one.setup_preset else ():
            check_against_preset([prop], load_preset(one.setup_preset or "", at=""), at=one.name)


CHOICES = [
    *((name,) for name in TEMPLATES),
    *combinations(TEMPLATES, 2),
    ("x86-64-levels", "blas", "openmp"),
    TEMPLATES,
]


@pytest.mark.parametrize("names", CHOICES, ids=" ".join)
def test_every_choice_is_one_set_of_tables_that_expands(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    start = compose(project(tmp_path, {"meson.build": "project('x', 'c')"}), names)
    path = tmp_path / "pyproject.toml"
    path.write_bytes(append_text(path.read_bytes(), start.text))
    plan = expand(tmp_path)
    assert plan == start.plan
    assert set(start.templates) == set(names)
    for one in named_templates(names):
        made = {str(prop) for job in plan.jobs for prop in job.properties}
        assert made.issuperset(text for value in one.values for text in value.properties)
    # Whoever has nothing of what the axes ask for gets a wheel: of the null variant, or one whose
    # properties are static and not optional.
    static = {"blas_lapack", "openmp"}
    for target in plan.targets:
        for_all = [
            job.label
            for job in plan.jobs
            if job.target == target
            and job.label is not None
            and {prop.namespace for prop in job.properties} <= static
        ]
        assert for_all, target
        assert any(job.label is None and job.target == target for job in plan.jobs), target


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_backend_gets_every_template(name: str, backend: str, tmp_path: Path) -> None:
    start = compose(project(tmp_path, backend=backend), [name])
    assert tables(start)["tool"]["polywheel"]["build-backend"] == backend
    asked = {job.label for job in start.plan.jobs}
    assert len(asked) > 2


def test_the_debug_build_differs_in_what_it_asks_of_the_build(tmp_path: Path) -> None:
    for backend in BACKENDS:
        plan = compose(project(tmp_path, backend=backend), ["debug"]).plan
        builds = {job.label: job.build for job in plan.jobs if job.target == plan.jobs[0].target}
        assert builds["debug"] != builds["null"]
        assert builds["null"] == builds[None]


def test_cpu_templates_share_an_axis_and_meet_no_machine_of_the_other_kind(tmp_path: Path) -> None:
    plan = compose(project(tmp_path), ["x86-64-levels", "aarch64-levels"]).plan
    assert list(plan.axes) == ["cpu"]
    by_target = {
        target: {job.label for job in plan.jobs if job.target == target} for target in plan.targets
    }
    assert by_target["linux-aarch64"] == {None, "null", "armv8_2a", "armv8_4a"}
    assert by_target["windows-x86_64"] == {None, "null", "x86_64_v2", "x86_64_v3", "x86_64_v4"}
    assert by_target["macos-arm64"] == {None, "null"}


def test_gpu_templates_share_an_axis_with_one_value_for_none(tmp_path: Path) -> None:
    start = compose(project(tmp_path), ["cuda", "rocm"])
    assert start.plan.axes == {"gpu": ("cpu", "cu126", "cu128", "cu130", "rocm6.4", "rocm7.0")}
    assert "null" not in tables(start)["tool"]["polywheel"]["matrix"]
    assert {job.label for job in start.plan.jobs} >= {None, "null", "cu128", "rocm6.4"}


def test_several_axes_are_all_in_the_label(tmp_path: Path) -> None:
    start = compose(project(tmp_path), ["debug", "x86-64-levels", "cuda"])
    labels = {job.label for job in start.plan.jobs}
    assert {"x86_64_v3_cu128_debug", "baseline_cu126_release", "baseline_cpu_debug"} <= labels
    assert "baseline_cpu_release" not in labels  # it has no properties
    assert "null" in labels


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"meson.build": "project('x', 'c')"}, ("x86-64-levels",)),
        ({"a.pyx": ""}, ("x86-64-levels",)),
        ({"CMakeLists.txt": "project(x LANGUAGES CXX CUDA)"}, ("cuda",)),
        ({"CMakeLists.txt": "project(x LANGUAGES CXX CUDA HIP)"}, ("cuda", "rocm")),
    ],
)
def test_languages_choose_the_templates(
    files: dict[str, str], expected: tuple[str, ...], tmp_path: Path
) -> None:
    assert compose(project(tmp_path, files), []).templates == expected


def test_nothing_to_compile_is_an_error_that_lists_the_templates(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no compiled language was found") as caught:
        compose(project(tmp_path, backend="hatchling.build"), [])
    (problem,) = caught.value.problems
    assert all(name in (problem.hint or "") for name in TEMPLATES)
    start = compose(project(tmp_path, backend="hatchling.build"), ["blas"])
    assert any("no code to compile" in note for note in start.notes)


def test_unknown_templates_are_shown_together() -> None:
    with pytest.raises(ConfigError) as caught:
        named_templates(["cuba", "cuda", "row"])
    assert [one.what for one in caught.value.problems] == [
        "unknown template 'cuba'",
        "unknown template 'row'",
    ]
    assert caught.value.problems[0].hint == "did you mean 'cuda'?"
    with pytest.raises(ConfigError) as caught:
        named_templates(["nvidia"])
    hint = "did you mean 'cuda'? 'nvidia' is a preset of build setup"
    assert caught.value.problems[0].hint == hint


def test_a_template_for_other_systems_than_the_classifiers_name(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\nclassifiers = ["Operating System :: MacOS"]\n'
    one = project(tmp_path, {"pyproject.toml": text})
    for name in ("rocm", "cuda", "openmp", "x86-64-levels"):
        with pytest.raises(ConfigError, match="has nothing for macos-arm64"):
            compose(one, [name])
    assert compose(one, ["blas"]).plan.axes == {"blas": ("accelerate", "openblas")}


def test_windows_alone_gets_no_rule_for_linux(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\nclassifiers = ["Operating System :: Microsoft :: Windows"]\n'
    start = compose(project(tmp_path, {"pyproject.toml": text}), ["openmp"])
    assert start.plan.axes == {"openmp": ("llvm",)}
    assert "clang" not in start.text


def test_a_meson_project_without_the_options_does_not_get_them_set(tmp_path: Path) -> None:
    start = compose(project(tmp_path, {"meson.build": "project('x', 'c')"}), ["blas"])
    assert "presets" not in tables(start)["tool"]["polywheel"]
    assert any("meson.options" in note for note in start.notes)
    options = "option('blas', type: 'string')\n# option('no')\noption('lapack', type: 'string')\n"
    start = compose(project(tmp_path, {"meson.options": options}), ["blas"])
    assert meson_options(tmp_path) == {"blas", "lapack"}
    assert tables(start)["tool"]["polywheel"]["presets"] == ["blas_lapack"]
    assert start.notes == ()


def test_an_in_tree_backend_is_the_real_one(tmp_path: Path) -> None:
    text = '[build-system]\nrequires = []\nbuild-backend = "in_tree"\nbackend-path = ["back", "a\'b"]\n'
    files = {"pyproject.toml": text, "back/in_tree.py": "", "a'b/more.py": ""}
    start = compose(project(tmp_path, files), ["debug"])
    written = tables(start)["tool"]["polywheel"]
    assert written["build-backend"] == "in_tree"
    assert written["backend-path"] == ["back", "a'b"]
    assert any("backend-path" in line for line in start.by_hand)


def test_what_is_left_to_change_by_hand(tmp_path: Path) -> None:
    assert compose(project(tmp_path), ["debug"]).by_hand == (
        'requires = ["polywheel", "meson-python"]',
        'build-backend = "polywheel.backend"',
    )
    text = (
        '[build-system]\nrequires = ["polywheel", "maturin"]\nbuild-backend = "polywheel.backend"\n'
    )
    start = compose(project(tmp_path, {"pyproject.toml": text}), ["debug"])
    assert start.by_hand == ()
    assert tables(start)["tool"]["polywheel"]["build-backend"] == "maturin"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[variant.default-priorities]\n", "[variant]"),
        ('[tool.polywheel]\nbuild-backend = "mesonpy"\n', "[tool.polywheel]"),
        ("[tool]\npolywheel = {}\n[variant]\n", "[variant], [tool.polywheel]"),
    ],
)
def test_tables_that_are_there_are_the_users(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_tables(project(tmp_path, {"pyproject.toml": text}))
    assert caught.value.problems[0].what.endswith(named)


TEXT = with_header(["cuda", "rocm"], "[variant]\na = 'ü'\n\n# the end\n")


@pytest.mark.parametrize("before", ["", "[project]\n", "[project]", "[project]\n\n\n", "\n"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_what_was_there_stays_and_the_text_is_known_again(before: str, line_break: str) -> None:
    content = before.replace("\n", line_break).encode()
    if line_break == "\r\n" and "\n" not in before:
        content = b"x = 1\r\n" + content
    whole = append_text(content, TEXT)
    assert whole.startswith(content)
    assert whole.count(b"\r\n") == (whole.count(b"\n") if b"\r\n" in content else 0)
    earlier = find_init_text(whole)
    assert earlier is not None
    assert earlier.templates == ("cuda", "rocm")
    lines = whole.decode().replace("\r\n", "\n").split("\n")
    assert lines[earlier.first - 1].startswith("# polywheel init")
    assert lines[earlier.last - 1] == "# the end"
    assert find_init_text(whole + b"[tool.mine]\n") == earlier


def test_text_that_was_changed_is_not_known_any_more() -> None:
    for changed in (
        TEXT.replace("a = ", "b = "),
        TEXT.replace("cuda rocm", "cuda"),
        TEXT.replace("# the end\n", ""),
        TEXT.replace("[variant]", "\n[variant]"),
    ):
        assert find_init_text(changed.encode()) is None
    assert find_init_text(b"") is None
    assert find_init_text(b"\xff\xfe") is None


# As TOML takes it: no control characters but tabs and line breaks.
_TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\t\n"))


@given(_TEXTS, _TEXTS)
def test_any_text_around_it_leaves_it_known(before: str, after: str) -> None:
    whole = append_text(before.encode("utf-8", "replace"), TEXT) + after.encode("utf-8", "replace")
    assert whole.startswith(before.encode("utf-8", "replace"))
    earlier = find_init_text(whole)
    assert earlier is not None
    assert earlier.templates == ("cuda", "rocm")

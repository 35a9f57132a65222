"""Build setup as variables and config settings of each real backend."""

from __future__ import annotations

import shlex
import sys
import sysconfig
import tomllib

import pytest

from polywheel.config.project import Settings
from polywheel.config.reader import Problems, Table
from polywheel.config.selection import ConfigSettings
from polywheel.config.setup_table import OWN_PROFILE
from polywheel.errors import ConfigError
from polywheel.model.setup import FLAG_FIELDS, BackendProfile, BuildSetup, DeliveryMethod, Entry
from polywheel.setup.flags_and_settings import Delivery, deliver
from polywheel.setup.profiles import choose_backend, shipped_profiles
from support.setups import project

PROFILES = {one.name: one for one in shipped_profiles()}
NO_COMPILE_STEP = ("hatchling", "flit-core", "pdm-backend", "poetry-core", "uv-build")
PYTHON_FLAGS = sysconfig.get_config_var("CFLAGS") or ""
RULE = "pyproject.toml: tool.polywheel.setup.x"


def entries(*texts: str, origin: str = RULE) -> tuple[Entry, ...]:
    return tuple(Entry(text, origin) for text in texts)


def flag(name: str, *texts: str) -> BuildSetup:
    return BuildSetup(flags={name: entries(*texts)})


def define(**defines: str) -> BuildSetup:
    return BuildSetup(defines={name: Entry(value, RULE) for name, value in defines.items()})


def delivered(
    setup: BuildSetup,
    backend: str | BackendProfile | None,
    *,
    compiler: str = "gnu",
    environment: dict[str, str] | None = None,
    settings: ConfigSettings | None = None,
    hooks: bool = False,
    strict: bool = False,
) -> Delivery:
    return deliver(
        setup,
        PROFILES[backend] if isinstance(backend, str) else backend,
        compiler=compiler,
        environment=environment or {},
        settings=settings or {},
        consumed_by_hooks=hooks,
        strict=strict,
    )


def profile(text: str) -> BackendProfile:
    """What ``[tool.polywheel.backend]`` says of a backend."""
    problems = Problems()
    table = Table(tomllib.loads(text), "pyproject.toml", ("backend",), problems)
    found = OWN_PROFILE.read_table(table, name="own")
    problems.raise_all()
    return found


# --- flags, by backend ---------------------------------------------------------------------------

ENVIRONMENT = {name: name.upper() for name in FLAG_FIELDS}
REACHES = {
    "meson-python": ENVIRONMENT,
    "scikit-build-core": {
        **{name: name.upper() for name in ("cflags", "cxxflags", "objcflags", "fflags", "ldflags")},
        "cuflags": "CUDAFLAGS",
    },
    "setuptools": {name: name.upper() for name in ("cflags", "cxxflags", "ldflags", "rustflags")},
    "maturin": {name: name.upper() for name in ("rustflags", "cflags", "cxxflags")},
    None: ENVIRONMENT,
}


@pytest.mark.parametrize("name", FLAG_FIELDS)
@pytest.mark.parametrize("backend", REACHES)
def test_flags_reach_the_variable_that_the_backend_reads(backend: str | None, name: str) -> None:
    found = delivered(flag(name, "-a", "-b"), backend, environment={"CFLAGS": "", "CXXFLAGS": ""})
    variable = REACHES[backend].get(name)
    if variable is None:
        assert found.environment == {}
        assert found.passed == ()
        assert found.warnings == (f"{backend} does not support {name} '-a -b' (from {RULE})",)
    else:
        assert found.environment == {variable: "-a -b"}
        assert found.passed == (f"{variable} += -a -b  ({RULE})",)
        assert found.warnings == ()
    assert found.config_settings == {}


def test_every_shipped_profile_has_its_test() -> None:
    assert set(PROFILES) == {name for name in REACHES if name} | set(NO_COMPILE_STEP)


@pytest.mark.parametrize("backend", NO_COMPILE_STEP)
def test_flags_for_a_backend_without_a_compile_step_are_a_warning_unless_it_has_hooks(
    backend: str,
) -> None:
    hooked = delivered(flag("cflags", "-a"), backend, hooks=True)
    assert hooked.environment == {"CFLAGS": f"{PYTHON_FLAGS} -a".strip()}
    assert hooked.warnings == ()
    # Set all the same: an installed plugin may compile, and nothing in the project says so.
    found = delivered(flag("cflags", "-a"), backend)
    assert found.environment == hooked.environment
    (warning,) = found.warnings
    assert warning.startswith(f"{backend} has no compile step, and the project has no build hook")
    assert "cflags '-a'" in warning
    assert RULE in warning


@pytest.mark.parametrize("backend", [*PROFILES, None])
def test_variables_reach_every_backend_without_a_warning(backend: str | None) -> None:
    setup = BuildSetup(env={"MKL_ROOT": Entry("/mkl", RULE)})
    found = delivered(setup, backend, strict=True)
    assert found.environment == {"MKL_ROOT": "/mkl"}
    assert found.passed == (f"MKL_ROOT = /mkl  ({RULE})",)
    assert found.warnings == ()


@pytest.mark.parametrize("backend", [*PROFILES, None])
def test_config_settings_reach_every_backend_without_a_warning(backend: str | None) -> None:
    setup = BuildSetup(config_settings={"a": Entry("1", RULE), "b": entries("2", "3")})
    found = delivered(setup, backend, strict=True)
    assert found.config_settings == {"a": "1", "b": ["2", "3"]}
    assert found.passed == (f"-Ca=1  ({RULE})", f"-Cb=2  ({RULE})", f"-Cb=3  ({RULE})")


@pytest.mark.parametrize("backend", [*PROFILES, None])
def test_nothing_asked_is_nothing_told(backend: str | None) -> None:
    found = delivered(BuildSetup(), backend, environment={"A": "1"}, settings={"b": ["2"]})
    assert found == Delivery(config_settings={"b": ["2"]})


@pytest.mark.parametrize(
    ("backend", "setup", "says"),
    [
        ("scikit-build-core", flag("rustflags", "-a"), "does not support rustflags '-a'"),
        ("setuptools", flag("fflags", "-a"), "does not support fflags '-a'"),
        ("setuptools", define(A="1"), "does not support defines '1' for 'A'"),
        ("hatchling", flag("cflags", "-a"), "has no compile step"),
        ("hatchling", define(A="1"), "does not support defines '1' for 'A'"),
        (None, define(A="1"), "a backend without a profile does not support defines '1' for 'A'"),
    ],
)
def test_what_can_not_be_told_is_a_warning_and_with_strict_an_error(
    backend: str | None, setup: BuildSetup, says: str
) -> None:
    (warning,) = delivered(setup, backend).warnings
    assert says in warning
    assert warning.endswith(f"(from {RULE})")
    assert warning.startswith(backend or "a backend")
    with pytest.raises(ConfigError) as caught:
        delivered(setup, backend, strict=True)
    (problem,) = caught.value.problems
    assert says in problem.what
    assert problem.at == RULE
    assert "strict = true" in (problem.hint or "")


def test_everything_that_can_not_be_told_is_said_at_once() -> None:
    setup = BuildSetup(
        flags={"fflags": entries("-a"), "dflags": entries("-b")}, defines={"A": Entry("1", RULE)}
    )
    assert len(delivered(setup, "setuptools").warnings) == 3
    with pytest.raises(ConfigError) as caught:
        delivered(setup, "setuptools", strict=True)
    assert len(caught.value.problems) == 3


# --- variables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["meson-python", "setuptools", "maturin", None])
def test_what_the_user_has_in_a_variable_stays_in_front(backend: str | None) -> None:
    found = delivered(flag("cflags", "-ours"), backend, environment={"CFLAGS": " -theirs -O1 "})
    assert found.environment == {"CFLAGS": "-theirs -O1 -ours"}


OWN_OPTIMIZATION = ("meson-python", "scikit-build-core", "maturin")
MAY_BE_SETUPTOOLS = ("setuptools", None, *NO_COMPILE_STEP)


@pytest.mark.parametrize("name", ["cflags", "cxxflags"])
@pytest.mark.parametrize("backend", MAY_BE_SETUPTOOLS)
def test_pythons_own_flags_stay_where_setuptools_may_compile(
    backend: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CFLAGS in the environment stands for sysconfig's, with its -O3 (setuptools 75.8)."""
    monkeypatch.setattr(sysconfig, "get_config_var", {"CFLAGS": "-O3 -DNDEBUG"}.get)
    found = delivered(flag(name, "-ours"), backend, hooks=True)
    variable = name.upper()
    assert found.environment == {variable: "-O3 -DNDEBUG -ours"}
    assert found.passed == (
        f"{variable} begins with the flags that Python was built with",
        f"{variable} += -ours  ({RULE})",
    )


@pytest.mark.parametrize("backend", OWN_OPTIMIZATION)
def test_a_build_system_with_its_own_optimization_gets_none_of_pythons_flags(backend: str) -> None:
    assert delivered(flag("cflags", "-ours"), backend).environment == {"CFLAGS": "-ours"}


@pytest.mark.parametrize("name", [one for one in FLAG_FIELDS if one not in {"cflags", "cxxflags"}])
def test_pythons_flags_are_for_c_and_cxx_alone(name: str) -> None:
    found = delivered(flag(name, "-ours"), profile("[delivery]\nflags = 'python-env'"))
    assert found.environment == {name.upper(): "-ours"}


@pytest.mark.parametrize("backend", MAY_BE_SETUPTOOLS)
def test_an_empty_variable_of_the_user_is_left_to_mean_no_flags(backend: str | None) -> None:
    found = delivered(flag("cflags", "-ours"), backend, environment={"CFLAGS": ""})
    assert found.environment == {"CFLAGS": "-ours"}


@pytest.mark.parametrize("text", ["", "[delivery]\nflags = 'env'", "[delivery]\ncflags = 'hooks'"])
@pytest.mark.parametrize("backend", ["own.build", "hatchling.build", "setuptools.build_meta"])
def test_a_table_about_a_backend_loses_none_of_pythons_flags(backend: str, text: str) -> None:
    found = delivered(flag("cflags", "-ours"), chosen(text, backend))
    assert found.environment == {"CFLAGS": f"{PYTHON_FLAGS} -ours".strip()}


@pytest.mark.parametrize(
    "text", ["own-optimization = true", "[delivery]\ncflags = 'env:CFLAGS'"], ids=["own", "named"]
)
def test_a_project_may_say_that_its_backend_needs_none_of_pythons_flags(text: str) -> None:
    found = delivered(flag("cflags", "-ours"), chosen(text, "own.build"))
    assert found.environment == {"CFLAGS": "-ours"}


def test_a_python_for_two_architectures_gives_those_that_a_rule_chooses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        sysconfig, "get_config_var", {"CFLAGS": "-O3 -arch arm64 -arch x86_64 -g"}.get
    )
    monkeypatch.setattr(sys, "platform", "darwin")
    flags = {"cflags": entries("-ours")}
    setup = BuildSetup(flags=flags, env={"ARCHFLAGS": Entry("-arch arm64", RULE)})
    found = delivered(setup, "setuptools")
    assert found.environment["CFLAGS"] == "-O3 -g -arch arm64 -ours"


def test_flags_are_appended_to_a_variable_that_a_rule_sets() -> None:
    setup = BuildSetup(flags={"cflags": entries("-march=x")}, env={"CFLAGS": Entry("-O3", RULE)})
    found = delivered(setup, "setuptools", environment={"CFLAGS": "-theirs"})
    assert found.environment == {"CFLAGS": "-O3 -march=x"}


def test_a_variable_that_has_its_value_already_is_not_set_again() -> None:
    setup = BuildSetup(env={"A": Entry("1", RULE), "B": Entry("2", RULE)})
    found = delivered(setup, None, environment={"A": "1", "B": "1"})
    assert found.environment == {"B": "2"}


def test_origins_of_several_sources_are_all_told() -> None:
    both = (Entry("-a", "provider x"), Entry("-b", "preset y"), Entry("-c", "provider x"))
    found = delivered(BuildSetup(flags={"cflags": both}), "maturin")
    assert found.passed == ("CFLAGS += -a -b -c  (provider x, preset y)",)


@pytest.mark.parametrize("compiler", ["gnu", "clang"])
@pytest.mark.parametrize("backend", MAY_BE_SETUPTOOLS)
def test_msvc_is_told_by_its_own_variable_where_setuptools_may_run_it(
    backend: str | None, compiler: str
) -> None:
    setup = BuildSetup(
        flags={
            "cflags": entries("/arch:AVX2"),
            "cxxflags": entries("/arch:AVX2"),
            "ldflags": entries("/LTCG"),
        }
    )
    found = delivered(setup, backend, compiler="msvc", environment={"CL": "/W4"}, hooks=True)
    assert found.environment == {"CL": "/W4 /arch:AVX2", "LINK": "/LTCG"}
    others = delivered(setup, backend, compiler=compiler)
    assert set(others.environment) == {"CFLAGS", "CXXFLAGS", "LDFLAGS"}
    others = delivered(setup, "meson-python", compiler="msvc")
    assert set(others.environment) == {"CFLAGS", "CXXFLAGS", "LDFLAGS"}


AWKWARD = ["-DA=b c", '-DV="1"', "-DP=a\\b", "-Wl,-rpath,$ORIGIN/lib", "-DQ='", "-D T"]


def test_a_flag_stays_one_flag_where_the_variable_is_split_as_a_shell_does() -> None:
    found = delivered(flag("cflags", "-O2", *AWKWARD), "meson-python")
    assert shlex.split(found.environment["CFLAGS"]) == ["-O2", *AWKWARD]


def test_a_flag_with_blanks_is_quoted_for_windows_as_its_programs_read_it() -> None:
    found = delivered(flag("cflags", "/DA=b c", r"/IC:\x"), "setuptools", compiler="msvc")
    assert found.environment == {"CL": r'"/DA=b c" /IC:\x'}


@pytest.mark.parametrize("backend", ["maturin", "setuptools", "meson-python"])
def test_a_flag_with_blanks_is_refused_for_rustflags(backend: str) -> None:
    with pytest.raises(ConfigError) as caught:
        delivered(flag("rustflags", "-C target-cpu=x"), backend)
    (problem,) = caught.value.problems
    assert "'-C target-cpu=x' can't be one flag" in problem.what
    assert problem.at == RULE
    found = delivered(flag("rustflags", '--cfg=a="b"', "-C", "target-cpu=x"), backend)
    assert found.environment == {"RUSTFLAGS": '--cfg=a="b" -C target-cpu=x'}


def test_flags_that_cargo_would_leave_unread_are_refused() -> None:
    setup = flag("rustflags", "-Ctarget-cpu=x")
    with pytest.raises(ConfigError, match="if CARGO_ENCODED_RUSTFLAGS is set"):
        delivered(setup, "maturin", environment={"CARGO_ENCODED_RUSTFLAGS": "-Copt-level=3"})


# --- config settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "merged"),
    [
        (None, ["-Dblas=mkl"]),
        ("-Dother=1", ["-Dother=1", "-Dblas=mkl"]),
        (["-Dother=1", "-Dblasius=x"], ["-Dother=1", "-Dblasius=x", "-Dblas=mkl"]),
        (("--werror",), ["--werror", "-Dblas=mkl"]),
    ],
)
def test_defines_for_meson_come_after_the_users_own_setup_arguments(
    theirs: str | list[str] | None, merged: list[str]
) -> None:
    settings: ConfigSettings = {} if theirs is None else {"setup-args": theirs}
    found = delivered(define(blas="mkl"), "meson-python", settings={**settings, "x": "y"})
    assert found.config_settings == {"setup-args": merged, "x": "y"}
    assert found.passed == (f"-Csetup-args=-Dblas=mkl  ({RULE})",)
    assert found.environment == {}


def test_several_defines_and_a_rules_own_setup_arguments_all_arrive() -> None:
    setup = BuildSetup(
        defines={"a": Entry("1", RULE), "b": Entry("x y", RULE)},
        config_settings={"setup-args": entries("-Dc=3")},
    )
    found = delivered(setup, "meson-python")
    assert found.config_settings == {"setup-args": ["-Dc=3", "-Da=1", "-Db=x y"]}


def test_defines_for_cmake_have_a_key_each() -> None:
    found = delivered(define(BLA_VENDOR="OpenBLAS", B="1;2"), "scikit-build-core")
    assert found.config_settings == {
        "cmake.define.BLA_VENDOR": "OpenBLAS",
        "cmake.define.B": "1;2",
    }
    assert found.environment == {}


def test_the_settings_that_were_given_stay_as_they_were() -> None:
    theirs = {"setup-args": ["-Da=1"]}
    delivered(define(b="2"), "meson-python", settings=theirs)
    assert theirs == {"setup-args": ["-Da=1"]}


@pytest.mark.parametrize(
    ("backend", "setup", "theirs"),
    [
        ("scikit-build-core", define(A="1"), {"cmake.define.A": "2"}),
        # scikit-build-core prefers this spelling to the one without
        ("scikit-build-core", define(A="1"), {"skbuild.cmake.define.A": "2"}),
        ("meson-python", define(A="1"), {"setup-args": "-DA=2"}),
        ("meson-python", define(A="1"), {"setup-args": ["-Db=3", "-DA=2"]}),
        ("maturin", BuildSetup(config_settings={"A": Entry("1", RULE)}), {"A": "2"}),
        ("maturin", BuildSetup(config_settings={"A": Entry("1", RULE)}), {"A": ["1", "2"]}),
    ],
)
def test_what_contradicts_the_users_command_line_is_an_error_that_names_both(
    backend: str, setup: BuildSetup, theirs: ConfigSettings
) -> None:
    with pytest.raises(ConfigError) as caught:
        delivered(setup, backend, settings=theirs)
    (problem,) = caught.value.problems
    assert "2' on the command line and" in problem.what
    assert problem.what.endswith(f"1' in {RULE}")
    assert problem.hint == "remove one of them"


@pytest.mark.parametrize(
    ("backend", "setup", "theirs", "merged"),
    [
        ("scikit-build-core", define(A="1"), {"cmake.define.A": "1"}, {"cmake.define.A": "1"}),
        ("meson-python", define(A="1"), {"setup-args": ["-DA=1"]}, {"setup-args": ["-DA=1"]}),
        ("maturin", BuildSetup(config_settings={"A": Entry("1", RULE)}), {"A": "1"}, {"A": "1"}),
        ("maturin", BuildSetup(config_settings={"A": Entry("1", RULE)}), {"A": ["1"]}, {"A": "1"}),
    ],
)
def test_what_the_user_says_too_is_no_contradiction(
    backend: str, setup: BuildSetup, theirs: ConfigSettings, merged: ConfigSettings
) -> None:
    assert delivered(setup, backend, settings=theirs).config_settings == merged


@pytest.mark.parametrize(
    ("backend", "key", "values"),
    [
        ("scikit-build-core", "cmake.define.A", Entry("2", "the other rule")),
        ("meson-python", "setup-args", (Entry("-DA=2", "the other rule"),)),
    ],
)
def test_a_define_that_contradicts_a_rules_setting_is_an_error_that_names_both(
    backend: str, key: str, values: Entry | tuple[Entry, ...]
) -> None:
    setup = BuildSetup(defines={"A": Entry("1", RULE)}, config_settings={key: values})
    with pytest.raises(ConfigError, match=f"in the other rule and .* in {RULE}"):
        delivered(setup, backend)


# --- [tool.polywheel.backend] --------------------------------------------------------------------

EVERY_WAY = """
hooks = ["tool.own.hooks"]
[delivery]
flags = "env"
cflags = "env:MY_CFLAGS"
cxxflags = { via = "config-setting:args", format = "--cxx={value}" }
ldflags = "config-setting:link"
rustflags = "unsupported"
fflags = "hooks"
defines = { via = "env:MY_ARGS", format = "-D{name}={value}" }
[delivery-by-compiler.msvc]
cflags = "env:CL"
"""


def test_every_way_that_a_project_may_declare() -> None:
    setup = BuildSetup(
        flags={name: entries(f"-{name}") for name in FLAG_FIELDS},
        defines={"A": Entry("x y", RULE), "B": Entry("2", RULE)},
    )
    found = delivered(setup, profile(EVERY_WAY), settings={"args": "--first"})
    assert found.environment == {
        "MY_CFLAGS": "-cflags",
        "CUFLAGS": "-cuflags",
        "OBJCFLAGS": "-objcflags",
        "DFLAGS": "-dflags",
        "VALAFLAGS": "-valaflags",
        "CYTHONFLAGS": "-cythonflags",
        "FFLAGS": "-fflags",
        "MY_ARGS": "'-DA=x y' -DB=2",
    }
    assert found.config_settings == {"args": ["--first", "--cxx=-cxxflags"], "link": ["-ldflags"]}
    assert [one.partition(":")[0] for one in found.warnings] == [
        "own has no compile step, and the project has no build hook",
        "own does not support rustflags '-rustflags' (from pyproject.toml",
    ]
    assert "CL" in delivered(setup, profile(EVERY_WAY), compiler="msvc").environment


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[delivery]\ncflag = 'env'", "delivery.cflag", "unknown field 'cflag'"),
        ("[delivery]\ncflags = 'envv'", "delivery.cflags", "unknown delivery method 'envv'"),
        ("[delivery]\ncflags = 'env:a b'", "delivery.cflags", "unknown delivery method"),
        (
            "[delivery]\ncflags = 'config-setting:{name}'",
            "delivery.cflags",
            "unknown delivery method",
        ),
        ("[delivery]\ncflags = 1", "delivery.cflags", "expected a string, found 1"),
        ("[delivery]\ncflags = {via = 'env', forma = ''}", "delivery.cflags.forma", "unknown key"),
        (
            "[delivery]\ncflags = {via = 'env', format = 'x'}",
            "delivery.cflags.format",
            "the format 'x' has no placeholder {value}",
        ),
        ("[delivery]\ndefines = 'env'", "delivery.defines", "unknown delivery method 'env'"),
        ("[delivery]\ndefines = 'hooks'", "delivery.defines", "unknown delivery method 'hooks'"),
        (
            "[delivery]\ndefines = 'config-setting:a'",
            "delivery.defines",
            "neither the key nor the format has the placeholder {name}",
        ),
        (
            "[delivery]\ndefines = 'config-setting:{nam}'",
            "delivery.defines",
            "unknown delivery method",
        ),
        ("[delivery-by-compiler.gcc]", "delivery-by-compiler.gcc", "unknown compiler 'gcc'"),
        ("modules = ['a']", "modules", "unknown key 'modules'"),
        ("hooks = ['a b']", "hooks[0]", "malformed name 'a b'"),
        (
            "[build-directory]\nvia = 'env:A'\nsince = 'a b'",
            "build-directory.since",
            "malformed requirement 'a b'",
        ),
    ],
)
def test_a_malformed_way_is_refused(text: str, where: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        profile(text)
    problem = caught.value.problems[0]
    assert problem.at == f"pyproject.toml: backend.{where}"
    assert what in problem.what


def test_a_delivery_method_without_via_is_one_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        profile("[delivery]\ndefines = {format = '-D{value}'}")
    assert [problem.what for problem in caught.value.problems] == ["missing key 'via'"]


def chosen(text: str, backend: str) -> BackendProfile:
    settings = Settings(build_backend=backend, backend=profile(text))
    found = choose_backend(project(settings)).profile
    assert found is not None
    return found


def test_a_project_may_change_what_a_profile_says() -> None:
    changed = chosen("[delivery]\nrustflags = 'env'", "scikit_build_core.build")
    assert changed.name == "scikit-build-core"
    assert changed.delivery["rustflags"] == DeliveryMethod("env")
    before = PROFILES["scikit-build-core"]
    assert {**changed.delivery, "rustflags": before.delivery["rustflags"]} == before.delivery
    assert changed.build_directory == before.build_directory


def test_a_project_may_add_a_profile_for_its_own_backend() -> None:
    own = chosen("[delivery]\ndefines = 'config-setting:o.{name}'", "own.build")
    assert own.name == "own.build"
    setup = BuildSetup(flags={"cflags": entries("-a")}, defines={"A": Entry("1", RULE)})
    found = delivered(setup, own, strict=True)
    assert found.config_settings == {"o.A": "1"}
    # what the table leaves open is as without it
    assert found.environment == delivered(flag("cflags", "-a"), None).environment

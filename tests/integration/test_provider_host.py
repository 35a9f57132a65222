"""Plugins in a process of their own: good ones of every generation, and hostile ones.

Each hostile plugin (tests/providers/hostile) ends in one error that names it, or in the right
answer; no process is left behind.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from variantlib.plugins.loader import DictPluginLoader

from polywheel.errors import Problem, ProviderError
from polywheel.model.plugin_answers import FeatureConfig
from polywheel.model.variant import VariantProperty
from polywheel.providers.client import ask_plugins
from support.plugins import (
    LEVEL,
    PLUGINS,
    answer_of,
    ask,
    does,
    linux,
    problem_of,
    query,
    shown,
    watched,
)
from support.process_tree import is_alive, parents

FORMS = ("", ":Plugin", ":plugin", ":Outer.Inner")
CALLS = (
    "import",
    "its constructor",
    "namespace",
    "get_all_configs",
    "validate_property",
    "get_supported_configs",
    "all_properties_compatible",
    "get_build_setup",
)

PATIENCE = 60
"""Seconds that a machine with other work may take for what takes a moment."""
TIMEOUTS = (0.3, 3.0, 20.0)
"""Seconds given to a plugin that hangs; more where it was not reached in time."""


def late(reference: str, call: str, *properties: str, having: Path | None = None) -> Problem:
    """The error of a plugin that hangs in this call, and had the time to write this file before."""
    for timeout in TIMEOUTS:
        problem = problem_of(reference, *properties, timeout=timeout)
        at = problem.what.endswith(f"did not answer within {timeout:g} seconds (in {call})")
        if at and (having is None or having.exists()):
            return problem
    raise AssertionError(problem.what)


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from watched(monkeypatch)


# --- real plugins -------------------------------------------------------------------------------

X86 = "provider_variant_x86_64.plugin:X8664Plugin"
ARM = "provider_variant_aarch64.plugin:AArch64Plugin"
REAL = [
    (X86, "x86_64 :: level", "v3", "v9", "-march=x86-64-v3", "provider-variant-x86-64"),
    (ARM, "aarch64 :: version", "8.1a", "8.99a", "-march=armv8.1-a", "provider-variant-aarch64"),
]


@pytest.mark.parametrize(("reference", "feature", "good", "bad", "flag", "name"), REAL)
def test_plugins_from_pypi_judge_and_give_flags(  # noqa: PLR0917 - a row of the table
    reference: str, feature: str, good: str, bad: str, flag: str, name: str
) -> None:
    prop = VariantProperty.parse(f"{feature} :: {good}")
    asked = replace(query(reference, str(prop)), requires=(f"{name}>=0",), version=True)
    ((answer,), lines) = ask(asked)
    assert (answer.generation, answer.version) == ("2025-06", "0.0.1.post2")
    assert answer.all_configs is None
    assert answer.valid == {prop: True}
    assert answer.supported is None
    assert answer.setup == answer.setup_each[prop] == {"cflags": (flag,), "cxxflags": (flag,)}
    assert not answer.all_compatible
    assert lines == []
    refused = answer_of(reference, f"{feature} :: {bad}")
    assert list(refused.valid.values()) == [False]
    assert refused.setup == {}
    assert refused.supported is not None  # for the hint


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="another machine")
def test_plugins_from_pypi_know_this_machine() -> None:
    """The answer is what the plugin says when it is called here, in its order."""
    x86, arm = ask(
        query(X86, namespace="x86_64", supported=True),
        query(ARM, namespace="aarch64", supported=True),
    )[0]
    code = (
        "from provider_variant_x86_64.plugin import X8664Plugin as P; "
        "print(*(f'{one.name}={value}' for one in P().get_supported_configs(None) "
        "for value in one.values))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert x86.supported is not None
    assert said.stdout.split() == [f"{c.name}={v}" for c in x86.supported for v in c.values]
    assert x86.supported[0].name == "level"
    levels = x86.supported[0].values
    assert levels == tuple(f"v{number}" for number in range(len(levels), 0, -1))
    assert arm.supported == ()


# --- every generation ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_plugin_of_2025_04_in_every_form(form: str) -> None:
    good, bad = "spring :: level :: v2", "spring :: level :: v7"
    answer = answer_of(f"api_2025_04{form}", good, "spring :: simd :: on", supported=True)
    assert answer.generation == "2025-04"
    assert shown(answer.all_configs) == {"level": ("v1", "v2", "v3"), "simd": ("on",)}
    assert shown(answer.supported) == {"level": ("v2", "v1")}
    assert set(answer.valid.values()) == {True}
    assert answer.setup == {"cflags": ("-mlevel=v2",), "ldflags": ("-Wl,-O1",)}
    assert answer.setup_each[VariantProperty.parse("spring :: simd :: on")]["cflags"] == ()
    assert list(answer_of(f"api_2025_04{form}", good, bad).valid.values()) == [True, False]


@pytest.mark.parametrize("form", [*FORMS, ":WithoutArgument"])
def test_a_plugin_of_2025_06_in_every_form(form: str) -> None:
    answer = answer_of(f"api_2025_06{form}", "summer :: level :: v3", supported=True)
    assert answer.generation == "2025-06"
    assert answer.all_configs is None
    assert shown(answer.supported) == {"level": ("v2", "v1")}
    assert answer.setup == {"cflags": ("-mlevel=v3",)}
    assert answer.all_compatible == (form != "")
    refused = answer_of(f"api_2025_06{form}", "summer :: level :: v7", "summer :: level :: v1")
    assert list(refused.valid.values()) == [False, True]
    assert (refused.setup, refused.setup_each) == ({}, {})


NEWER = [
    *((f"api_pep_817{form}", "winter", "PEP 817") for form in FORMS),
    *((f"api_2026{form}", "autumn", "2026") for form in FORMS),
    ("api_2026:ByItsMetaclass", "autumn", "2026"),
    ("api_2026:Derived", "autumn", "2026"),
    ("api_2026:Bilingual", "autumn", "PEP 817"),
]


@pytest.mark.parametrize(("reference", "namespace", "generation"), NEWER)
def test_a_plugin_since_pep_817_in_every_form(
    reference: str, namespace: str, generation: str
) -> None:
    properties = [f"{namespace} :: arch :: {value}" for value in ("80", "90")]
    answer = answer_of(reference, *properties, supported=True)
    assert answer.generation == generation
    assert answer.all_configs == (
        FeatureConfig("level", ("v3", "v2", "v1")),
        FeatureConfig("arch", ("80", "90"), multi_value=True),
    )
    assert answer.supported == (
        FeatureConfig("arch", ("90",), multi_value=True),
        FeatureConfig("level", ("v2", "v1")),
    )
    assert set(answer.valid.values()) == {True}
    assert answer.all_compatible == (
        reference not in {"api_2026:Derived", "api_2026:ByItsMetaclass"}
    )
    assert bool(answer.setup) == ("Bilingual" in reference)


# variantlib looks with dir(), which shows nothing of a metaclass.
@pytest.mark.parametrize(
    ("reference", "namespace", "generation"),
    [one for one in NEWER if "ByItsMetaclass" not in one[0]],
)
def test_variantlib_gives_the_same_answers(reference: str, namespace: str, generation: str) -> None:
    ours = answer_of(reference, namespace=namespace, supported=True)
    with DictPluginLoader({namespace: reference}, Path(sys.executable)) as loader:
        theirs = [loader.get_all_configs()[namespace], loader.get_supported_configs()[namespace]]
    assert [ours.all_configs, ours.supported] == [
        tuple(FeatureConfig(c.name, tuple(c.values), c.multi_value) for c in one.configs)
        for one in theirs
    ], generation


def test_a_property_is_known_where_the_list_or_the_judgement_says_so() -> None:
    properties = [f"autumn :: level :: v{number}" for number in (3, 4, 5)]
    answer = answer_of("api_2026:Bilingual", *properties)
    assert list(answer.valid.values()) == [True, True, False]


def test_a_plugin_may_tell_its_namespace() -> None:
    asked = [query(name, supported=True) for name in ("api_pep_817", "api_2026", X86)]
    assert [one.namespace for one in ask(*asked)[0]] == ["winter", "", "x86_64"]


def test_several_plugins_answer_in_order_from_one_process() -> None:
    asked = [
        query("api_2026", "autumn :: level :: v1"),
        query(X86, "x86_64 :: level :: v2"),
        query("api_pep_817", "winter :: arch :: 80"),
        query("hostile.prints:Plugin", LEVEL),
    ]
    answers, lines = ask(*asked)
    assert [one.namespace for one in answers] == ["autumn", "x86_64", "winter", "odd"]
    assert [one.query for one in answers] == asked
    assert lines == ["odd: hello", 'odd: {"answers": []}', "odd: a warning"]


def test_no_plugin_means_no_process() -> None:
    assert ask(python="/nowhere/python") == ((), [])


def test_everything_that_is_wrong_is_shown_together() -> None:
    with pytest.raises(ProviderError) as caught:
        ask(
            query("no_such_module:Plugin", "winter :: level :: v1"),
            query("api_2026", "autumn :: level :: v1"),
            query("hostile.shapes:NeedsArguments", LEVEL),
        )
    first, second = caught.value.problems
    assert "'no_such_module:Plugin' of the namespace 'winter' can't be imported" in first.what
    assert first.hint is not None
    assert "install provider-of-tests into the build environment" in first.hint
    assert '[tool.polywheel.providers.winter] query = "preset" or "never"' in first.hint
    assert "NeedsArguments" in second.what


@linux
def test_one_plugin_that_dies_does_not_keep_the_others_from_answering(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    does("killed", monkeypatch)
    with pytest.raises(ProviderError) as caught:
        ask(
            query("hostile.does:Plugin", LEVEL),
            query("api_2026", "autumn :: level :: v1"),
            query("hostile.does:Plugin", "even :: level :: v1"),
        )
    first, second = caught.value.problems
    assert first.what.endswith("of the namespace 'odd' was killed by signal 9 in get_all_configs")
    assert second.what.endswith("it has the namespace 'odd', not 'even'")


def test_the_one_that_hangs_is_named_among_several(monkeypatch: pytest.MonkeyPatch) -> None:
    does("hangs", monkeypatch)
    other = query("api_2026", "autumn :: level :: v1")

    def named(timeout: float) -> bool:
        with pytest.raises(ProviderError) as caught:
            ask(other, query("hostile.does:Plugin", LEVEL), other, timeout=timeout)
        (problem,) = caught.value.problems
        return f"'odd' did not answer within {timeout:g} seconds" in problem.what

    assert any(map(named, TIMEOUTS))


ASKS = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from support.plugins import LEVEL, ask, query
print("begins", flush=True)
ask(query("hostile.does:Plugin", LEVEL))
"""


@linux
@pytest.mark.parametrize("what", ["hangs", "spins", "hangs in all threads"])
@pytest.mark.parametrize("call", ["import", "its constructor"])
def test_plugins_end_soon_after_a_polywheel_that_was_killed(
    call: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is left to end them at their time limit: they would spin for ever."""
    if sys.platform == "win32":
        pytest.skip("uses what Windows does not have")
    does(what, monkeypatch, call)
    asking = subprocess.Popen(
        [sys.executable, "-c", ASKS, str(PLUGINS)], stdout=subprocess.PIPE, encoding="utf-8"
    )
    with asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == "begins\n"
        until = time.monotonic() + PATIENCE
        while not (hosts := children(asking.pid)) or not (plugins := children(*hosts)):
            assert time.monotonic() < until, "the plugin is not asked"
            time.sleep(0.02)
        asking.kill()
    until = time.monotonic() + PATIENCE
    while any(map(is_alive, [*hosts, *plugins])):
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.05)


def children(*processes: int) -> list[int]:
    return [process for process, parent in parents().items() if parent in processes]


@pytest.fixture
def no_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that can't fork, as the client and the host see it."""
    (tmp_path / "sitecustomize.py").write_text("import os\ndel os.fork\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(PLUGINS)]))
    monkeypatch.delattr("os.fork", raising=False)


@pytest.mark.usefixtures("no_fork")
def test_without_fork_each_plugin_has_a_host_of_its_own() -> None:
    asked = [
        query("hostile.prints:Plugin", LEVEL),
        query(X86, "x86_64 :: level :: v2", supported=True),
        query(ARM, "aarch64 :: version :: 8.1a", supported=True),
        query("hostile.world:Changes", LEVEL),
        query("hostile.world:Looks", namespace="odd"),
    ]
    answers, lines = ask(*asked)
    assert [one.query for one in answers] == asked
    assert len(lines) == 3 + 4


@pytest.mark.usefixtures("no_fork")
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("ValueError", "failed in get_all_configs: ValueError"),
        ("sys.exit", "failed in get_all_configs: SystemExit"),
        ("os._exit(0)", "ended its process (exit code 0) in get_all_configs"),
        ("os._exit(3)", "ended its process (exit code 3) in get_all_configs"),
        ("hangs", "did not answer within"),
    ],
)
def test_without_fork_a_plugin_that_dies_is_one_error(
    what: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(what, monkeypatch)
    if what == "hangs":
        late("hostile.does:Plugin", "get_all_configs")
    else:
        assert message in problem_of("hostile.does:Plugin").what


@linux
def test_nothing_is_left_when_the_one_who_asks_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    monkeypatch.setenv("POLYWHEEL_TEST_LEAVES", "hangs_too")
    monkeypatch.setenv("POLYWHEEL_TEST_PIDS", str(pids))
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from support import plugins; "
        "plugins.ask(plugins.query('hostile.leaves:Plugin', plugins.LEVEL))"
    )
    tests = str(PLUGINS.parent)
    with subprocess.Popen([sys.executable, "-c", code, tests], stderr=subprocess.PIPE) as process:
        assert waits_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert b"KeyboardInterrupt" in said
    assert waits_until(lambda: not is_alive(int(pids.read_text())))


def test_the_plugins_are_those_of_the_interpreter_given(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv").glob("[Ll]ib/**/site-packages")
    text = (PLUGINS / "api_2026.py").read_text(encoding="utf-8")
    (packages / "only_there.py").write_text(text, encoding="utf-8")
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    asked = query("only_there", "autumn :: level :: v1")
    assert ask(asked, python=str(python))[0][0].generation == "2026"
    assert "can't be imported" in problem_of("only_there", "autumn :: level :: v1").what


@pytest.mark.parametrize("python", ["/nowhere/python", str(Path(__file__))])
def test_an_interpreter_that_can_not_be_started_is_named(python: str) -> None:
    with pytest.raises(ProviderError, match=f"'api_2026' .* can't be asked: {python}: "):
        ask(query("api_2026", namespace="autumn"), python=python)


def test_an_interpreter_that_does_not_start_says_why(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho too old >&2\nexit 2\n")
    python.chmod(0o755)
    with pytest.raises(ProviderError, match=f"'api_2026' .* '{X86}' can't be asked: too old"):
        ask(query("api_2026", namespace="autumn"), query(X86), python=str(python))


# --- hostile plugins: things done ---------------------------------------------------------------

DONE = {
    "ValueError": r"failed in CALL: ValueError: a \\x1b\[31mred\\x1b\[0m word and \\ud800 another",
    "KeyboardInterrupt": "failed in CALL: KeyboardInterrupt",
    "BaseException": "failed in CALL: Odd: odd",
    "unspeakable": "failed in CALL: Unspeakable",
    "sys.exit": "failed in CALL: SystemExit",
    "sys.exit(text)": "failed in CALL: SystemExit: bye",
    "os._exit(0)": r"ended its process \(exit code 0\) in CALL",
    "os._exit(3)": r"ended its process \(exit code 3\) in CALL",
    "killed": "was killed by signal 9 in CALL",
    "recursion": "failed in CALL: RecursionError: maximum recursion depth exceeded",
}
DONE_ONCE = {
    "GeneratorExit": "failed in CALL: GeneratorExit",
    "its group killed": "was killed by signal 15 in CALL",
    "segfault": "was killed by signal 11 in CALL",
    "no memory": "failed in CALL: MemoryError",
    "asks": "failed in CALL: EOFError: EOF when reading a line",
    "spoils json": "damaged the answer of the process that asks it",
    "prints into nowhere": "failed in CALL: OSError: .*Bad file descriptor",
    "replaces its folder": "can't be asked: unknown reason",
}
HARMLESS = (
    "nothing",
    "removes its folder",
    "hangs in a thread",
    "puts pipes into its folder",
    "forks a child that goes on",
    "forks a child that exits",
    "reads input",
    "closes descriptors",
)


def test_everything_that_is_done_is_tried() -> None:
    text = (PLUGINS / "hostile" / "does.py").read_text(encoding="utf-8")
    names = re.findall(r'^    "(.+?)": ', text, re.MULTILINE)
    elsewhere = {"hangs", "spins", "hangs in all threads", "forges an answer"}
    assert set(names) == {*DONE, *DONE_ONCE, *HARMLESS, *elsewhere}


@linux
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", DONE)
def test_what_ends_a_call_is_one_error(
    what: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(what, monkeypatch, call)
    # A judgement is asked for where the list does not have the property.
    asked = ["odd :: extra :: on"] if call == "validate_property" else [LEVEL]
    problem = problem_of("hostile.does:Plugin", *asked)
    assert re.search(DONE[what].replace("CALL", call), problem.what)
    assert problem.hint is None


@linux
@pytest.mark.parametrize("what", DONE_ONCE)
def test_what_ends_the_process_is_one_error(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    does(what, monkeypatch)
    problem = problem_of("hostile.does:Plugin")
    assert re.search(DONE_ONCE[what].replace("CALL", "get_all_configs"), problem.what)


@linux
@pytest.mark.parametrize("call", ["import", "get_build_setup"])
@pytest.mark.parametrize("what", HARMLESS)
def test_what_does_not_matter_is_survived(
    what: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    does(what, monkeypatch, call)
    asked = query("hostile.does:Plugin", LEVEL)
    answers, _ = ask(asked, query("api_2026", namespace="autumn"))
    assert answers[0].setup == {"cflags": ("-mlevel=v2",)}
    assert [one.generation for one in answers] == ["PEP 817", "2026"]


@pytest.mark.parametrize("call", CALLS)
def test_a_plugin_that_hangs_is_named_with_its_call(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    does("hangs", monkeypatch, call)
    asked = ["odd :: extra :: on"] if call == "validate_property" else [LEVEL]
    problem = late("hostile.does:Plugin", call, *asked)
    assert problem.hint is not None
    assert "provider-timeout" in problem.hint


def test_a_plugin_that_spins_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    does("spins", monkeypatch)
    began = time.monotonic()
    late("hostile.does:Plugin", "get_all_configs")
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Guarded", "failed in its constructor: RuntimeError: nothing of me is yours"),
        ("RaisesNameless", "failed in get_all_configs: an exception that can't be named"),
        ("MakesAnInt", "failed in namespace: it has neither get_all_configs nor validate_property"),
        ("NeedsArguments", "failed in its constructor: TypeError: .*argument"),
        ("RaisesOnAccess", "failed in .*: OSError: no access"),
        ("HasNothing", "it has neither get_all_configs nor validate_property"),
        ("HasNoSupported", "failed in get_supported_configs: AttributeError"),
        ("HasNoList", "it has neither get_all_configs nor validate_property"),
        ("mock", "its namespace is <MagicMock .*, not a string"),
        ("mock_of_a_namespace", "failed in validate_property: .* not true or false"),
        ("everything", "its namespace is <hostile.* not a string"),
        ("nothing", "it has neither get_all_configs nor validate_property"),
        ("number", "it has neither get_all_configs nor validate_property"),
        ("function", "it has neither get_all_configs nor validate_property"),
        ("absent", "failed in import: AttributeError: module 'hostile.shapes' has no attribute"),
        ("Good.absent", "failed in import: AttributeError: "),
    ],
)
def test_an_object_of_an_odd_shape_is_one_error(name: str, message: str) -> None:
    assert re.search(message, problem_of(f"hostile.shapes:{name}").what)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b'namespace = "odd"\n\xff\xfe\n', "SyntaxError: .*utf-8"),
        (b"def broken(:\n", "SyntaxError"),
        (b"x = 1\x00", "SyntaxError: .*null bytes"),
        (b"import no_such_module", "can't be imported: ModuleNotFoundError"),
        (b"from os import nothing_like_it", "failed in import: ImportError"),
        (b"", "it has neither"),
    ],
)
def test_a_module_that_can_not_be_read_is_one_error(
    source: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unreadable.py").write_bytes(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert re.search(message, problem_of("unreadable").what)


# --- hostile plugins: what they print -----------------------------------------------------------


def printed(kind: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("POLYWHEEL_TEST_PRINTS", kind)
    ((answer,), lines) = ask(query("hostile.prints:Plugin", LEVEL))
    assert answer.setup == {"cflags": ("-mlevel=v2",)}
    assert all(line.isprintable() and line.startswith("odd: ") for line in lines)
    return [line.removeprefix("odd: ") for line in lines]


def test_prints_reach_the_log_with_the_namespace_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("plain", monkeypatch) == ["hello", '{"answers": []}', "a warning"]


def test_prints_are_made_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("wild", monkeypatch) == [
        r"red red \x07bell \x9b31m \u202egnorw ",
        " line",
        "tab     here",
        r"over \x00nul \ud800 lone",
        "not utf-8: \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}",
    ]


def test_output_of_descriptors_and_children_reaches_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert printed("descriptor", monkeypatch) == ["to 1", "to 2", "a child"]


def test_the_end_of_much_output_reaches_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed("megabytes", monkeypatch)
    assert lines[0] == "…"
    assert lines[-1] == "the end"
    assert sum(map(len, lines)) < 70_000


def test_what_was_not_flushed_reaches_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("unfinished", monkeypatch) == ["no line end"]


@linux
def test_output_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_PRINTS", "endless")
    assert "failed in get_all_configs: OSError: " in problem_of("hostile.prints:Plugin").what


def test_last_words_reach_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_TEST_PRINTS", "dies")
    lines: list[str] = []
    with pytest.raises(ProviderError):
        ask_plugins(
            [query("hostile.prints:Plugin", LEVEL)], python=sys.executable, notify=lines.append
        )
    assert lines == ["odd: last words"]


def test_the_traceback_of_a_plugin_reaches_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    does("ValueError", monkeypatch)
    lines: list[str] = []
    with pytest.raises(ProviderError):
        ask_plugins(
            [query("hostile.does:Plugin", LEVEL)], python=sys.executable, notify=lines.append
        )
    assert lines[0] == "odd: Traceback (most recent call last):"
    assert all(line.isprintable() for line in lines)


# --- hostile plugins: what they leave behind ----------------------------------------------------


def waits_until(gone: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if gone():
            return True
        time.sleep(0.01)
    return False


@linux
@pytest.mark.parametrize(
    "kind",
    ["forked", "session", "daemon", "popen", "popen_session", "popen_forgets", "pool", "at_exit"],
)
def test_no_process_is_left(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    if kind == "popen_forgets" and not unlimited:
        pytest.skip("is known by a limit on the size of files, and there is another one here")
    pids = tmp_path / "pids"
    monkeypatch.setenv("POLYWHEEL_TEST_LEAVES", kind)
    monkeypatch.setenv("POLYWHEEL_TEST_PIDS", str(pids))
    assert answer_of("hostile.leaves:Plugin", LEVEL).setup == {"cflags": ("-mlevel=v2",)}
    started = [int(line) for line in pids.read_text().split()]
    assert len(started) == (5 if kind == "pool" else 1)
    assert waits_until(lambda: not any(map(is_alive, started)))


@linux
def test_no_process_is_left_of_a_plugin_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    monkeypatch.setenv("POLYWHEEL_TEST_LEAVES", "hangs_too")
    monkeypatch.setenv("POLYWHEEL_TEST_PIDS", str(pids))
    late("hostile.leaves:Plugin", "get_all_configs", having=pids)
    started = [int(line) for line in pids.read_text().split()]
    assert started
    assert waits_until(lambda: not any(map(is_alive, started)))


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer_of("hostile.prints:Plugin", LEVEL)
    does("removes its folder", monkeypatch)
    answer_of("hostile.does:Plugin", LEVEL)
    does("os._exit(0)", monkeypatch)
    problem_of("hostile.does:Plugin")
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_finds_the_world_as_it_was() -> None:
    looks = query("hostile.world:Looks", namespace="odd")
    answers, lines = ask(query("hostile.world:Changes", LEVEL), looks)
    assert answers[0].setup == {"cflags": ("-mlevel=v2",)}
    assert shown(answers[1].all_configs) == {
        "folder": (re.sub("[^a-z0-9]", ".", str(Path.cwd()).lower()),),
        "path": ("true",),
        "argument": ("4",),
        "depth": ("true",),
        "search": ("true",),
    }
    assert lines == [f"odd: {word}" for word in ("out", "err", "one", "two")]

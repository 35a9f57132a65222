"""Backends and plugins that misbehave, one after another: how a run with each of them ends.

Every backend is that of one of two variants of a project; the other variant's is a good one. The run has to
end within its time, with the state that the table says, with the good wheel, without a traceback, without a
letter that a terminal would act on, with the source as it was, and with nothing left in the temporary folder.
Every plugin ends in one error that names it, or in the right answer.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import campaign

from polywheel.errors import ProviderError
from polywheel.model.plugin_answers import PluginQuery
from polywheel.model.variant import VariantProperty
from polywheel.providers.client import ask_plugins
from polywheel.wheel.inspect import inspect_wheel
from support.build_command import JOURNAL
from support.builds import snapshot
from support.process_tree import kill_all, marked_processes
from support.projects import HERE, fake_backend, write_project

BACKEND = campaign.ROOT / "tests" / "backends" / "hostile.py"
PLUGINS = campaign.ROOT / "tests" / "providers"
TIMEOUT = 6
"""Seconds that the hanging ones have (``--job-timeout``); a run may take 10 more to end them."""
LOG_MOST = 320 * 1024 * 1024
"""Bytes of a log."""
BUILT, FAILED, EITHER = frozenset({"built"}), frozenset({"failed"}), frozenset({"built", "failed"})


@dataclass(frozen=True, slots=True)
class Animal:
    """What a backend does, and how a run with it ends."""

    does: str
    """``HOOK: THING``, see tests/backends/hostile.py."""

    states: frozenset[str] = FAILED
    seconds: float = 30
    good: bool = True
    """Whether the good variant is there at the end."""

    leaves: bool = False
    """Whether a process of it may go on: one that has left for a session of its own."""


def _each(
    hook: str, *things: str, states: frozenset[str] = FAILED, seconds: float = 30, good: bool = True
) -> list[Animal]:
    return [Animal(f"{hook}: {one}", states, seconds, good) for one in things]


ANIMALS = (
    *_each(
        "build_wheel",
        *("nothing", "prints", "prints bytes", "prints a line without an end", "a crowd"),
        *("closes descriptors", "spoils the source", "reads input", "many wheels"),
        *("a time to come", "no mode"),
        states=BUILT,
    ),
    *_each(
        "build_wheel",
        *("fills its log", "removes everything", "removes its folder", "a bomb"),
        *("a link to a wheel", "the folder replaced", "pipes for the worker", "an absolute path"),
        "a label in its name",
        states=EITHER,
    ),
    *_each(
        "build_wheel",
        *("hangs", "spins", "stops itself", "hangs and ignores signals"),
        seconds=TIMEOUT + 20,
    ),
    *_each("build_wheel", "hangs in threads", states=EITHER, seconds=TIMEOUT + 20),
    *_each(
        "build_wheel",
        *("raises", "raises BaseException", "sys.exit(0)", "sys.exit(text)", "os._exit(0)"),
        *("os._exit(3)", "segfault", "kills itself", "kills its group", "kills its parent"),
        *("no memory", "recursion", "asks"),
    ),
    *(Animal(f"build_wheel: {one}", BUILT, leaves=True) for one in ("a daemon", "a silent daemon")),
    *_each(
        "build_wheel",
        *("None", "a number", "an empty name", "a dot", "a name that leads out"),
        *("a wheel that is not there", "a huge name", "a name with an escape sequence"),
        *("no wheel", "text", "nothing in it", "half a wheel", "another project"),
        *("another version", "another project within", "another dist-info", "another platform"),
        *("another tag within", "a file that leads out", "a link to a device"),
        *("a link to itself", "a link to a file outside", "a socket", "a pipe", "a folder"),
    ),
    *_each("get_requires_for_build_wheel", "prints", "a huge list", states=BUILT),
    *_each("get_requires_for_build_wheel", "hangs", seconds=TIMEOUT + 20),
    *_each(
        "get_requires_for_build_wheel",
        *("raises", "os._exit(0)", "segfault", "None", "a string", "a number", "malformed"),
        *("line breaks", "another polywheel", "what is not there"),
    ),
    *_each("import", "SyntaxError", "ImportError", "raises", "sys.exit(0)", "os._exit(0)"),
    *_each("import", "hangs", seconds=TIMEOUT + 20),
    *_each("build_sdist", "nothing", states=BUILT),
    *_each(
        "build_sdist",
        *("raises", "os._exit(0)", "None", "a pipe", "text", "a link to a device"),
        *("a wheel that is not there", "another project", "a link that leads out"),
        *("a file that leads out", "a device"),
        states=EITHER,
        good=False,
    ),
    *_each("build_sdist", "hangs", states=EITHER, seconds=2 * TIMEOUT + 30, good=False),
)


def project(folder: Path, does: str) -> Path:
    """Two variants: ``odd``, whose build does it, and ``good``. Hooks that all share do it for both."""
    shared = does.startswith("build_sdist")
    rules = '[tool.polywheel.setup."demo :: kind :: odd"]\n' if not shared else ""
    rules += f"env = {{ ZOO_DOES = {json.dumps(does)} }}\n" if not shared else ""
    write_project(
        folder,
        {
            "pyproject.toml": f"""
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "demo"
version = "1.0"
[variant.default-priorities]
namespace = ["demo"]
[variant.providers.demo.static-properties]
kind = ["good", "odd"]
[variant.variants.good]
demo.kind = ["good"]
[variant.variants.odd]
demo.kind = ["odd"]
{rules}
[tool.polywheel.setup."demo :: kind"]
env = {{ ZOO_KIND = "{{value}}" }}
[tool.polywheel.matrix]
python = ["{HERE}"]
""",
            "backend.py": fake_backend(BACKEND.read_text(encoding="utf-8")),
            "data.txt": "data\n",
        },
    )
    return folder


def visit(
    animal: Animal,
    folder: Path,
    environment: dict[str, str],
    mark: str,
    *,
    job_timeout: float = TIMEOUT,
) -> Iterator[str]:
    """Run a build with one of them; what is wrong with how it ends."""
    source, out = project(folder / "demo", animal.does), folder / "out"
    if animal.does.startswith("build_sdist"):
        environment = {**environment, "ZOO_DOES": animal.does}
    before = snapshot(source)
    report = folder / "report.json"
    command = [sys.executable, "-m", "polywheel", "build", str(source), "-o", str(out), "-j", "2"]
    command += ["--report", str(report), "--job-timeout", str(job_timeout)]
    began = time.monotonic()
    running = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        content, _ = running.communicate(timeout=animal.seconds + 60)
    except subprocess.TimeoutExpired:
        kill_all(running.pid)
        running.communicate()
        yield f"no end within {animal.seconds + 60:.0f} seconds"
        return
    seconds = time.monotonic() - began
    said = content.decode("utf-8", "replace")
    yield from wrong_output(said)
    if seconds > animal.seconds:
        yield f"it took {seconds:.1f} seconds, not {animal.seconds:.0f}"
    yield from wrong_states(animal, running.returncode, report, said)
    yield from wrong_wheels(out)
    if snapshot(source) != before:
        yield "the source is not what it was"
    if temporary := {path.name for path in Path(environment["TMPDIR"]).iterdir()}:
        yield f"left in the temporary folder: {campaign.kinds(temporary)}"
    left = marked_processes(mark)
    if left and not animal.leaves:
        yield f"processes are left: {left}"


def wrong_output(said: str) -> Iterator[str]:
    if "\nTraceback" in f"\n{said}":
        yield f"a traceback: {said[-1500:]}"
    for line in said.splitlines():
        if not line.isprintable() or line.startswith(("::", "##[")):
            yield f"a line that a terminal or CI acts on: {line[:200]!r}"
            break
    if len(said) > 300_000:
        yield f"{len(said)} letters of output"


def wrong_states(animal: Animal, code: int, report: Path, said: str) -> Iterator[str]:
    if not report.exists():
        # Nothing could begin. That is right for nobody here but those that fail for all builds.
        if animal.good or code == 0:
            yield f"no report, exit code {code}: {said[-800:]}"
        return
    document = json.loads(report.read_text())
    states = {str(job["label"]): job["state"] for job in document["jobs"]}
    if states.get("odd") not in animal.states:
        yield f"the odd one is {states.get('odd')}, expected {'/'.join(sorted(animal.states))}"
    if animal.good and states.get("good") != "built":
        yield f"the good one is {states.get('good')}: {said[-800:]}"
    wrong = any(state != "built" for state in states.values())
    if code != int(wrong):
        yield f"exit code {code}, and states {states}"
    if wrong and "failed:" not in said:
        yield "the output does not name what failed"


def wrong_wheels(out: Path) -> Iterator[str]:
    for path in out.glob("*.whl"):
        if path.is_symlink() or not path.is_file():
            yield f"{path.name} is no plain file"
            continue
        wheel = inspect_wheel(path, hashes=True)
        if wheel.disagreements:
            yield f"{path.name}: {wheel.disagreements[0].what}"
        if wheel.variant is None or (wheel.name.distribution, wheel.name.version) != (
            "demo",
            "1.0",
        ):
            yield f"{path.name} is none of this project's variants"
    if out.is_dir():
        if beside := {one.name for one in out.iterdir() if one.suffix != ".whl"} - {
            JOURNAL,
            "logs",
        }:
            yield f"left beside the wheels: {campaign.kinds(beside)}"
        for log in (out / "logs").glob("*"):
            if log.stat().st_size > LOG_MOST:
                yield f"a log of {log.stat().st_size >> 20} MiB"


def end_all(mark: str) -> None:
    """What an animal left in a session of its own."""
    if sys.platform == "win32":
        return
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (path / "environ").read_bytes():
                os.kill(int(path.name), signal.SIGKILL)


def backends(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    campaign.heed_signals()
    mark = uuid.uuid4().hex
    with campaign.workplace() as folder:
        environment = campaign.environment(folder, ENDURANCE_MARK=mark)
        for number in numbers:
            animal = ANIMALS[number % len(ANIMALS)]
            place = folder / f"visit{number}"
            place.mkdir()
            for wrong in visit(animal, place, environment, mark):
                figures.found(
                    f"{animal.does}: {wrong}", repeat=f"zoo.py --first {number} --count 1"
                )
            figures.counts["backends"] += 1
            end_all(mark)
            shutil.rmtree(place, ignore_errors=True)
            campaign.empty_folder(Path(environment["TMPDIR"]))
            figures.progress(f"{animal.does}", every=20)


CALLS = (
    *("import", "its constructor", "namespace", "get_all_configs", "validate_property"),
    *("get_supported_configs", "all_properties_compatible", "get_build_setup"),
)
_THINGS = (PLUGINS / "hostile" / "does.py").read_text("utf-8").partition("THINGS = {")[2]
THINGS = [line.split('"')[1] for line in _THINGS.partition("\n}")[0].splitlines() if '"' in line]


def plugins(figures: campaign.Figures, numbers: Sequence[int]) -> None:
    """Every thing in every call; numbers beyond that start over."""
    mark = uuid.uuid4().hex
    prop = VariantProperty.parse("odd :: level :: v2")
    query = PluginQuery(
        namespace="odd",
        reference="hostile.does:Plugin",
        requires=("provider-of-tests",),
        at="pyproject.toml: variant.providers.odd",
        properties=(prop,),
        setup=(prop,),
        supported=True,
    )
    pairs = [(call, thing) for call in CALLS for thing in THINGS]
    with campaign.workplace() as folder:
        os.environ |= campaign.environment(
            folder, ENDURANCE_MARK=mark, PYTHONPATH=str(PLUGINS), PYTHONDONTWRITEBYTECODE="1"
        )
        for number in numbers:
            call, thing = pairs[number % len(pairs)]
            os.environ["POLYWHEEL_TEST_DOES"] = f"{call}: {thing}"
            began, wrong = time.monotonic(), ""
            try:
                ask_plugins([query], python=sys.executable, timeout=3, notify=lambda _: None)
                figures.counts["plugins that answered"] += 1
            except ProviderError as error:
                (problem,) = error.problems
                figures.counts["plugins that were refused"] += 1
                if "hostile.does" not in problem.what or not problem.what.isprintable():
                    wrong = f"the error does not name it: {problem.what[:200]!r}"
            except BaseException as error:  # noqa: BLE001 -- that is the finding
                wrong = f"{type(error).__name__}: {error}"
            if time.monotonic() - began > 10:
                wrong = wrong or f"it took {time.monotonic() - began:.1f} seconds"
            # This process has the mark now too; what it was started with is what /proc shows.
            if left := marked_processes(mark):
                wrong = wrong or f"processes are left: {left}"
            if wrong:
                figures.found(
                    f"plugin, {call}: {thing}: {wrong}", repeat=f"zoo.py --first {number} --plugins"
                )
            end_all(mark)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = campaign.parser(__doc__, count=len(ANIMALS))
    parser.add_argument("--plugins", action="store_true", help="plugins alone")
    options = parser.parse_args(arguments)
    figures = campaign.Figures("the zoo", options.seed)
    if not options.plugins:
        figures.add(campaign.shared_out(backends, "the zoo", options))
    if options.plugins or options.count >= len(ANIMALS):
        options.count = len(CALLS) * len(THINGS)
        figures.add(campaign.shared_out(plugins, "the zoo", options))
    return figures.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())

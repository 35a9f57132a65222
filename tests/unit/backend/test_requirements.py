"""The real backend is asked again if it could not answer before the requirements of a variant were installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from polywheel.backend.hook_call import HookCall
from polywheel.backend.requirements import ask_again, ask_early, check_installed
from polywheel.config.project import Settings
from polywheel.config.selection import parse_selection
from polywheel.errors import BuildError
from polywheel.model.setup import Entry
from polywheel.setup.profiles import choose_backend
from polywheel.system.cache import cache_directory
from support.setups import at, project, variant

RULE = at("abi_dependency :: torch")
TORCH = (Entry("polytorch==2.6.*", RULE),)
"""No such distribution is installed."""
HERE = (Entry("packaging>=20", RULE),)
OLD = (Entry("packaging<20", RULE),)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "cache"))


class Frontend:
    """The hooks of one build, and what they print."""

    def __init__(self, source: Path, *, label: str = "torch26", hook: str = "wheel") -> None:
        self.printed: list[str] = []
        self.asked = 0
        selection, settings = parse_selection(None)
        found = project(Settings(build_backend="b"), source=source)
        self.call = HookCall(
            project=found,
            choice=choose_backend(found),
            selection=selection,
            settings=settings,
            variant=variant("abi_dependency :: torch :: 2.6", label=label),
            notify=self.printed.append,
            hook=f"get_requires_for_build_{hook}",
        )

    def answer(self, *answer: str) -> Callable[[], list[str]]:
        def ask() -> list[str]:
            self.asked += 1
            return [*answer]

        return ask

    def fail(self) -> list[str]:
        raise BuildError("the real backend 'b' failed in its hook (exit code 1)", hint="see above")


@pytest.fixture
def frontend(tmp_path: Path) -> Frontend:
    return Frontend(tmp_path)


def test_a_failure_before_the_requirements_are_installed_is_a_note(frontend: Frontend) -> None:
    assert ask_early(frontend.call, frontend.fail, [*HERE, *TORCH]) == []
    (note,) = frontend.printed
    assert note == (
        "note: the real backend 'b' failed in its hook (exit code 1); maybe it needs the requirements of the "
        "variant, which are not installed yet: polytorch==2.6.*; it is asked again when they are installed"
    )


@pytest.mark.parametrize("of_variant", [(), HERE])
def test_any_other_failure_is_an_error_at_once(
    of_variant: tuple[Entry, ...], frontend: Frontend
) -> None:
    with pytest.raises(BuildError, match=r"failed in its hook \(exit code 1\)"):
        ask_early(frontend.call, frontend.fail, of_variant)
    assert not frontend.printed
    ask_again(frontend.call, frontend.answer("absent"), of_variant)
    assert frontend.asked == 0


def test_another_version_is_not_yet_the_required_one(frontend: Frontend) -> None:
    assert ask_early(frontend.call, frontend.fail, OLD) == []
    assert "not installed yet: packaging<20 (" in frontend.printed[0]


def test_a_backend_that_answered_is_not_asked_again(frontend: Frontend) -> None:
    assert ask_early(frontend.call, frontend.answer("ninja"), TORCH) == ["ninja"]
    ask_again(frontend.call, frontend.answer("absent"), TORCH)
    assert frontend.asked == 1


def test_what_it_wants_then_and_is_missing_is_an_error_that_names_it(frontend: Frontend) -> None:
    ask_early(frontend.call, frontend.fail, TORCH)
    # Every hook has a new process; the frontend may try again.
    late = frontend.answer("packaging", "packaging<20", "late-tool[x]>=1")
    for _ in range(2):
        with pytest.raises(BuildError) as raised:
            ask_again(frontend.call, late, TORCH)
        version = sys.modules["packaging"].__version__
        assert [problem.what for problem in raised.value.problems] == [
            f"the real backend 'b' requires 'packaging<20', but version {version} is installed",
            "the real backend 'b' requires 'late-tool[x]>=1', which is not installed",
        ]
        for problem in raised.value.problems:
            assert problem.at == "pyproject.toml: build-system.requires"
            assert problem.hint == (
                f"add it there, or to requires of {RULE}: the real backend could not ask for it "
                "before polytorch==2.6.* was installed"
            )
    ask_again(frontend.call, frontend.answer("packaging"), TORCH)
    asked = frontend.asked
    ask_again(frontend.call, frontend.answer("absent"), TORCH)
    assert frontend.asked == asked


def test_a_second_failure_is_shown_with_what_is_still_missing(frontend: Frontend) -> None:
    ask_early(frontend.call, frontend.fail, TORCH)
    with pytest.raises(BuildError) as raised:
        ask_again(frontend.call, frontend.fail, TORCH)
    first, second = raised.value.problems
    assert first.hint == "see above"
    assert second.what == "the variant requires 'polytorch==2.6.*', which is not installed"
    assert second.at == RULE


def test_a_malformed_answer_is_an_error(frontend: Frontend) -> None:
    ask_early(frontend.call, frontend.fail, TORCH)
    with pytest.raises(BuildError, match="not a valid requirement"):
        ask_again(frontend.call, frontend.answer("no requirement"), TORCH)


def test_other_builds_are_not_asked_again(frontend: Frontend, tmp_path: Path) -> None:
    ask_early(frontend.call, frontend.fail, TORCH)
    others = [
        Frontend(tmp_path, label="torch27"),
        Frontend(tmp_path, hook="editable"),
        Frontend(tmp_path / "elsewhere"),
    ]
    for other in others:
        ask_again(other.call, other.answer("absent"), TORCH)
        assert other.asked == 0
    later = replace(frontend.call, hook="prepare_metadata_for_build_wheel")
    ask_again(later, frontend.answer(), TORCH)
    assert frontend.asked == 1


def test_a_new_answer_counts_from_then_on(frontend: Frontend) -> None:
    ask_early(frontend.call, frontend.fail, TORCH)
    ask_early(frontend.call, frontend.answer(), TORCH)
    ask_again(frontend.call, frontend.answer("absent"), TORCH)
    assert frontend.asked == 1
    assert list((cache_directory() / "unanswered").iterdir()) == []


def test_without_a_cache_the_build_goes_on(
    frontend: Frontend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert ask_early(frontend.call, frontend.fail, TORCH) == []
    ask_again(frontend.call, frontend.answer("absent"), TORCH)
    assert frontend.asked == 0


def test_a_wheel_is_not_built_with_another_version_than_its_variant_requires(
    frontend: Frontend,
) -> None:
    check_installed(frontend.call, [*HERE, *TORCH])
    assert frontend.printed == [
        f"warning: the variant requires 'polytorch==2.6.*', which is not installed ({RULE})"
    ]
    with pytest.raises(
        BuildError, match="the variant requires 'packaging<20', but version"
    ) as raised:
        check_installed(frontend.call, [*OLD, *TORCH])
    (problem,) = raised.value.problems
    assert problem.at == RULE
    assert "if build-system.requires names the same package, remove it there" in str(problem.hint)

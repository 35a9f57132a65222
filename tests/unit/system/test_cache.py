"""The cache folder belongs to the user alone, because its content is executed."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from polywheel.errors import ConfigError, PolywheelError
from polywheel.providers.plugins import PluginEnvironments
from polywheel.run.own_package import own_package_folder
from polywheel.system.cache import cache_directory, refusal

if sys.platform == "win32":
    pytest.skip("Windows: the folder lies in the user's profile", allow_module_level=True)

USER = os.geteuid()
STRANGER = 54321
FOLDER, LINK = stat.S_IFDIR, stat.S_IFLNK
STICKY = stat.S_ISVTX
as_root = pytest.mark.skipif(USER != 0, reason="only root can give a file to somebody else")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache is to be; it does not exist yet."""
    folder = tmp_path / "parent" / "cache"
    monkeypatch.setenv("POLYWHEEL_CACHE_DIR", str(folder))
    return folder


def made(folder: Path, mode: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(mode)
    return folder


def test_it_is_created_for_the_user_alone(cache: Path) -> None:
    before = os.umask(0)
    try:
        assert cache_directory() == cache
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.parent.stat().st_mode) == 0o700
    assert cache_directory() == cache, "a second time, when it is there"


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
def test_one_that_everybody_can_write_to_is_refused(cache: Path, mode: int) -> None:
    made(cache, mode)
    with pytest.raises(ConfigError, match="writable for everybody") as caught:
        cache_directory()
    assert caught.value.problems[0].at == str(cache)
    assert "POLYWHEEL_CACHE_DIR" in str(caught.value.problems[0].hint)


@pytest.mark.parametrize("there", [True, False])
def test_one_in_a_folder_that_everybody_can_write_to_is_refused(cache: Path, there: bool) -> None:
    made(cache.parent, 0o777)
    if there:
        made(cache, 0o700)
    with pytest.raises(ConfigError, match="on the path to the cache folder, is writable"):
        cache_directory()
    assert cache.exists() == there


def test_the_sticky_bit_protects_what_lies_in_a_shared_folder(cache: Path) -> None:
    made(cache.parent, 0o1777)
    assert cache_directory() == cache


def test_a_link_is_followed_to_the_end(cache: Path, tmp_path: Path) -> None:
    made(tmp_path / "shared", 0o777)
    made(tmp_path / "shared" / "real", 0o700)
    made(cache.parent, 0o700)
    cache.symlink_to(Path("..", "shared", "real"))
    with pytest.raises(ConfigError, match=r"shared, on the path"):
        cache_directory()
    (tmp_path / "shared").chmod(0o755)
    assert cache_directory() == cache


def test_a_loop_of_links(cache: Path) -> None:
    made(cache.parent, 0o700)
    cache.symlink_to(cache)
    with pytest.raises(ConfigError, match="can't be used"):
        cache_directory()


@as_root
@pytest.mark.parametrize("whose", ["cache", "parent"])
def test_root_refuses_what_belongs_to_somebody_else(cache: Path, whose: str) -> None:
    """A container that runs as root, with a folder of the host's user mounted into it."""
    made(cache, 0o700)
    os.chown(cache if whose == "cache" else cache.parent, STRANGER, STRANGER)
    with pytest.raises(ConfigError, match=f"belongs to user {STRANGER}, not to user 0"):
        cache_directory()


@as_root
def test_the_home_folder_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub mounts the home folder of the runner's user into containers that run as root."""
    import pwd

    home, own = made(tmp_path / "github-home", 0o755), made(tmp_path / "root", 0o700)
    for name in ("POLYWHEEL_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    entry = pwd.struct_passwd(("root", "x", 0, 0, "", str(own), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: entry)
    below = ("Library", "Caches") if sys.platform == "darwin" else (".cache",)
    assert cache_directory() == home.joinpath(*below, "polywheel")
    os.chown(home, STRANGER, STRANGER)
    assert cache_directory() == own.joinpath(*below, "polywheel")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    with pytest.raises(ConfigError, match=f"belongs to user {STRANGER}"):
        cache_directory()


@as_root
def test_a_link_of_somebody_else_is_refused(cache: Path, tmp_path: Path) -> None:
    made(tmp_path / "real", 0o700)
    made(cache.parent, 0o1777)
    cache.symlink_to(tmp_path / "real")
    os.chown(cache, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(ConfigError, match=f"belongs to user {STRANGER}"):
        cache_directory()


@pytest.mark.parametrize(
    ("owner", "mode", "last", "refused"),
    [
        (1000, FOLDER | 0o755, True, False),
        (1000, FOLDER | 0o755, False, False),
        (0, FOLDER | 0o755, False, False),
        (2000, FOLDER | 0o755, False, True),
        (2000, FOLDER | 0o700, True, True),
        (65534, FOLDER | 0o755, False, False),  # it owns /: root, as a user namespace shows it
        (65534, FOLDER | 0o755, True, True),
        (0, FOLDER | STICKY | 0o777, False, False),
        (0, FOLDER | STICKY | 0o777, True, True),
        (2000, FOLDER | STICKY | 0o777, False, True),
        (0, FOLDER | 0o777, False, True),
        (0, FOLDER | 0o770, False, True),  # group 54321 is nobody's own
        (1000, LINK | 0o777, False, False),
        (2000, LINK | 0o777, False, True),
    ],
)
def test_who_is_trusted(owner: int, mode: int, last: bool, refused: bool) -> None:
    status = os.stat_result((mode, 1, 1, 2, owner, STRANGER, 0, 0, 0, 0))
    assert (refusal(status, trusted={0, 1000, 65534}, user=1000, last=last) is None) != refused


def test_a_group_with_one_member_is_as_good_as_none() -> None:
    """A umask of 002 is usual where every user has a group of the same name."""
    import grp
    import pwd

    entry = pwd.getpwuid(USER)
    if grp.getgrgid(entry.pw_gid).gr_name != entry.pw_name:
        pytest.skip("this user has no group of that name")
    status = os.stat_result((FOLDER | 0o775, 1, 1, 2, USER, entry.pw_gid, 0, 0, 0, 0))
    assert refusal(status, trusted={USER}, user=USER, last=True) is None


def test_nothing_of_a_shared_cache_is_used(cache: Path) -> None:
    """Neither a copy of polywheel nor an environment, and nothing is written to it."""
    made(cache, 0o777)
    with pytest.raises(PolywheelError, match="polywheel would run them"):
        own_package_folder()
    with pytest.raises(PolywheelError, match="polywheel would run them"):
        PluginEnvironments(notify=print).python(["demo"])
    assert list(cache.iterdir()) == []


def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("POLYWHEEL_CACHE_DIR", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ConfigError, match="no cache folder"):
        cache_directory()

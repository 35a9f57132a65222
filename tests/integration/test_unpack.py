"""Sdists: archives that tar writes, and crafted archives in bounded memory and time."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from polywheel.run.source.tar import Kind
from support.tar_archives import extended, header, read, record


@pytest.mark.skipif(not shutil.which("tar"), reason="there is no tar")
@pytest.mark.parametrize("kind", ["v7", "ustar", "pax", "gnu", "oldgnu"])
def test_what_tar_writes(kind: str, tmp_path: Path) -> None:
    top = tmp_path / "demo-1.0"
    folder = top / "/".join(["folder"] * (5 if kind in {"v7", "ustar"} else 40))
    folder.mkdir(parents=True)
    (folder / "file.c").write_bytes(b"x" * 1000)
    (top / "run.sh").touch(0o755)
    done = subprocess.run(
        ["tar", "--format", kind, "-cf", "demo.tar", "demo-1.0"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("this tar has no such format")
    found = {
        name: (kind, content)
        for name, kind, _, content, *_ in read((tmp_path / "demo.tar").read_bytes())
    }
    relative = (folder / "file.c").relative_to(tmp_path).as_posix()
    assert found[relative] == (Kind.FILE, b"x" * 1000)
    assert found["demo-1.0/run.sh"] == (Kind.FILE, b"")
    assert found["demo-1.0/"] == (Kind.FOLDER, b"")


MEBI = 1 << 20
ZEROS = 1500 * MEBI


def gzipped(*parts: bytes | int) -> bytes:
    """Parts of a tar archive; an int is so many zeros, compressed as one chunk many times over."""
    chunk = gzip.compress(bytes(10 * MEBI), 9)
    return b"".join(
        chunk * (part // (10 * MEBI)) if isinstance(part, int) else gzip.compress(part, 1)
        for part in parts
    )


def claims(kind: bytes) -> Callable[[], bytes]:
    """A header that extends the next one claims 1.5 GB, and has them."""
    return lambda: gzipped(header("pax", kind=kind, size=ZEROS), ZEROS, header())


QUADRATIC = b"".join(b"1 " for _ in range(MEBI // 2 - 10)) + b"="
KEYS = b"".join(record(b"key%d" % number, b"v" * 40) for number in range(15_000))
CRAFTED: dict[str, Callable[[], bytes]] = {
    "pax": claims(b"x"),
    "pax for all": claims(b"g"),
    "long name": claims(b"L"),
    "long link": claims(b"K"),
    "pax that claims more than there is": lambda: gzipped(header("pax", kind=b"x", size=8**11 - 1)),
    "sparse": lambda: gzipped(
        extended(record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")),
        header(size=ZEROS),
        ZEROS,
    ),
    "records that overlap": lambda: gzipped(extended(QUADRATIC), header()),
    "many records for all": lambda: gzipped(*[extended(KEYS, b"g")] * 15, header("../x")),
    "many records": lambda: gzipped(*[extended(KEYS) + header()] * 15, header("../x")),
    "much in headers": lambda: gzipped(*[extended(bytes(MEBI))] * 300),
    "many headers": lambda: gzipped(header("pax", kind=b"x") * 7_000),
    "many files": lambda: gzipped(header() * 3_000),
    "many folders": lambda: gzipped(
        b"".join(header(f"demo-1.0/{n}/a/b/c/d/e/f") for n in range(400))
    ),
    "a file of zeros": lambda: gzipped(header(size=ZEROS), ZEROS),
    "zeros at the end": lambda: gzipped(header(), ZEROS),
    "a device with content": lambda: gzipped(header(kind=b"3", size=ZEROS), ZEROS),
    "hard links": lambda: gzipped(
        header("demo-1.0/a", size=10 * MEBI),
        10 * MEBI,
        b"".join(header(f"demo-1.0/b{n}", kind=b"1", link="demo-1.0/a") for n in range(50)),
    ),
}
SMALL_LIMITS = {"_SMALL": 50 * MEBI, "_RATIO": 20, "MOST_FILES": 2_000}
CHILD = """
import json, resource, sys, time
from pathlib import Path
from polywheel.errors import BuildError
from polywheel.run.source import unpack as unpacking
for name, value in json.loads(sys.argv[2]).items():
    setattr(unpacking, name, value)
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
for path in sorted(Path(sys.argv[1]).iterdir()):
    began, out = time.process_time(), Path(sys.argv[1] + "-out", path.name)
    out.mkdir(parents=True)
    try:
        unpacking.unpack_sdist(path, out)
        said = "unpacked"
    except BuildError as error:
        said = error.problems[0].what
    print(json.dumps([said, time.process_time() - began]), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_archives(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "crafted"
    folder.mkdir()
    (folder / "demo-1.0.tar.gz").write_bytes(CRAFTED[name]())
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), json.dumps(SMALL_LIMITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, seconds = json.loads(done.stdout)
    assert said.startswith("demo-1.0.tar.gz ")
    assert seconds < 30

"""Archives of wheels, read whole or refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from polywheel.errors import WheelError
from polywheel.wheel.archive.reader import Archive, open_archive
from support.wheels import extents

PATH = Path("some/demo-1.0-py3-none-any.whl")
LIMIT = 1024 * 1024


def opened(content: bytes) -> Archive:
    return open_archive(io.BytesIO(content), PATH)


def read_all(content: bytes) -> dict[str, bytes]:
    archive = opened(content)
    assert len(extents(archive)) == len(archive.members)
    return {member.name: archive.read(member, limit=LIMIT) for member in archive.members}


def refused(content: bytes, why: str) -> None:
    with pytest.raises(WheelError, match=why) as raised:
        read_all(content)
    assert str(PATH) in str(raised.value)

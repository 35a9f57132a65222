"""The lock of the journal ends with its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polywheel.errors import BuildError
from polywheel.run.journal import open_journal


def test_the_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from polywheel.run.journal import open_journal\n"
        "with open_journal(Path(sys.argv[1])):\n"
        "    print('have it', flush=True); time.sleep(300)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline().strip() == b"have it"
            with pytest.raises(BuildError), open_journal(tmp_path):
                pass
        finally:
            other.kill()
    with open_journal(tmp_path):
        pass

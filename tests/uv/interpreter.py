"""A Python that tells uv of another machine.

uv asks an interpreter what machine it is for. This one is asked in place of the real one: it passes the
question on, and changes the answer as POLYWHEEL_TEST_MACHINE says (JSON: keys of the answer). So uv
chooses wheels for processors and systems that are not here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys


def main() -> int:
    real = os.environ["POLYWHEEL_TEST_PYTHON"]
    done = subprocess.run([real, *sys.argv[1:]], capture_output=True, text=True, check=False)
    answer = done.stdout
    try:
        document = json.loads(answer)
    except ValueError:
        document = None
    if isinstance(document, dict) and "cpu_info" in document:
        changes = json.loads(os.environ["POLYWHEEL_TEST_MACHINE"])
        document["markers"] |= changes.pop("markers", {})
        answer = json.dumps({**document, **changes})
    sys.stdout.write(answer)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

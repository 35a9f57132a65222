"""Takes one step of a build; run as a script, by the interpreter of a build environment.

Arguments: a JSON file that says what to do, and the file for the answer. Standard library only up
to the point where the running polywheel, which lies in a folder of its own, is put on the path: the
environment need not have one.
"""

import gc
import json
import os
import sys
from pathlib import Path


def main() -> int:
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # In front: this process is polywheel's. The real backend's own does not see it.
    sys.path[0:1] = [order["polywheel"]]
    import tempfile

    from polywheel.run.worker.worker import handle_request

    # This process may be killed. What it leaves then lies where the run that started it removes it.
    tempfile.tempdir = str(Path(sys.argv[1]).parent)
    answer, code = handle_request(order)
    # Under this name there may be a pipe by now, which nobody reads.
    place = Path(sys.argv[2])
    place.unlink(missing_ok=True)
    place.write_text(json.dumps(answer), encoding="utf-8")
    return code


if __name__ == "__main__":
    # It lives for one step, and every variant pays for it: nothing is tidied up that ends anyway.
    gc.disable()
    ended = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)

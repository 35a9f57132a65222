"""Take one step of a build; run as a script by the interpreter of a build environment.

Arguments: the file with the request, and the file for the response. The protocol is in
:mod:`polywheel.run.worker.protocol`. The environment need not have polywheel: this file lies in a
folder with the running polywheel, which is put on the path. Only the standard library is imported
before that.
"""

import gc
import os
import sys
from pathlib import Path


def main() -> int:
    # First on the path: this process belongs to polywheel. The process of the real backend gets
    # another path.
    sys.path[0:1] = [str(Path(__file__).parents[3])]
    import tempfile

    from polywheel.run.worker.protocol import read_request, write_response
    from polywheel.run.worker.steps import handle_request

    request_file, response_file = map(Path, sys.argv[1:])
    # If this process is killed, the run that started it removes the temporary files.
    tempfile.tempdir = str(request_file.parent)
    response, exit_code = handle_request(read_request(request_file))
    write_response(response_file, response)
    return exit_code


if __name__ == "__main__":
    # This process lives for one step, and every build waits for it: it does not clean up memory.
    gc.disable()
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)

"""Says which optional hooks a backend has; run as a script, standard library only.

Arguments: the file for the answer, the backend as ``module`` or ``module:object``, then the names
of the hooks. ``_POLYWHEEL_BACKEND_PATH`` holds the folders of an in-tree backend as a JSON list
(PEP 517: they come first on ``sys.path``). The answer is ``{"hooks": […]}``, or
``{"error": traceback}`` where the backend can't be imported.
"""

import importlib
import json
import os
import sys
import traceback


def main() -> None:
    answer, backend, *names = sys.argv[1:]
    # This file's own folder is the package polywheel's: nothing is to be imported from there.
    sys.path[0:1] = [os.path.abspath(p) for p in json.loads(os.environ["_POLYWHEEL_BACKEND_PATH"])]
    module, _, path = backend.partition(":")
    try:
        found = importlib.import_module(module)
        for part in filter(None, path.split(".")):
            found = getattr(found, part)
        said: dict[str, object] = {"hooks": [name for name in names if hasattr(found, name)]}
    except (ImportError, AttributeError):
        said = {"error": traceback.format_exc()}
    with open(answer, "w", encoding="utf-8") as file:
        json.dump(said, file)


main()

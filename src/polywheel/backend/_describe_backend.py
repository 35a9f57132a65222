"""Find out which hooks a backend has. Run as a script; imports the standard library only.

Arguments: the file for the result, the backend as ``module`` or ``module:object``, then the names
of hooks. ``_POLYWHEEL_BACKEND_PATH`` has the folders of an in-tree backend as a JSON list (PEP 517:
they come first on ``sys.path``). The result is ``{"hooks": […]}``, with the hooks among the names that
the backend has, or ``{"error": traceback}`` if the backend can't be imported.
"""

import importlib
import json
import os
import sys
import traceback


def main() -> None:
    result_file, backend, *names = sys.argv[1:]
    # Replaces the folder of this file: its modules belong to polywheel.
    sys.path[0:1] = [os.path.abspath(p) for p in json.loads(os.environ["_POLYWHEEL_BACKEND_PATH"])]
    module, _, path = backend.partition(":")
    try:
        target = importlib.import_module(module)
        for part in filter(None, path.split(".")):
            target = getattr(target, part)
        result: dict[str, object] = {"hooks": [name for name in names if hasattr(target, name)]}
    except (ImportError, AttributeError):
        result = {"error": traceback.format_exc()}
    with open(result_file, "w", encoding="utf-8") as file:
        json.dump(result, file)


main()

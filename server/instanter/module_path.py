"""Where a process that this one starts finds the same modules as this one, wherever they lie."""

import os
import sys


def find_module_path() -> str:
    """Return the `PYTHONPATH` of such a process."""
    return os.pathsep.join(path for path in sys.path if path)

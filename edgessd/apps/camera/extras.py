"""The door to supervision and trackers, which are optional."""

from __future__ import annotations

import importlib
from typing import Any

from edgessd.errors import DependencyError, missing_extra


def import_extra(name: str) -> Any:
    """Return the module. Raises DependencyError where it is not installed, or cannot start here."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise missing_extra(name, "track") from None
    except OSError as error:  # supervision looks for a folder for temporary files when it is imported
        raise DependencyError(
            f"{name} cannot start here ({error.strerror or error}): set TMPDIR to a folder that can be written to"
        ) from None

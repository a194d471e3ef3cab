"""The one door to pyarrow, so that a missing extra gets an answer that helps."""

from __future__ import annotations

from edgessd.errors import missing_extra

try:
    import pyarrow
    import pyarrow.fs
    import pyarrow.parquet
except ModuleNotFoundError as error:
    raise missing_extra(str(error.name), "ray") from None

__all__ = ["pyarrow"]

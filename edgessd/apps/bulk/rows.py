"""What the result says about one picture, and how it lies in Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from msgspec import Struct

from edgessd.apps.bulk.arrow import pyarrow as pa
from edgessd.apps.bulk.manifest import Model
from edgessd.apps.bulk.storage import Storage
from edgessd.errors import InputError, printable
from edgessd.results import Detections

STAGES = ("read", "preprocess", "run", "postprocess")

SCHEMA = pa.schema(
    [
        pa.field("index", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("labels", pa.list_(pa.int32())),
        pa.field("names", pa.list_(pa.string())),
        pa.field("milliseconds", pa.struct([(stage, pa.float32()) for stage in STAGES])),
        pa.field("error", pa.string()),
    ]
)


class Row(Struct):
    """One picture of the result: the arrays of `Detections`, exact, and where they come from.

    index: its place in the source, from 0. path: as the source names it. width, height: pixels, None for a picture
    that could not be read. boxes: (x1, y1, x2, y2) in pixels of the picture, best score first. scores: 0..1.
    labels: index of the class. names: of the classes. milliseconds: by stage, as in `Detections.timings`; `read` is
    reading and decoding. error: why there is no answer, None where there is one.
    """

    index: int
    path: str
    width: int | None = None
    height: int | None = None
    boxes: list[list[float]] = []
    scores: list[float] = []
    labels: list[int] = []
    names: list[str] = []
    milliseconds: dict[str, float] | None = None
    error: str | None = None


def found_row(index: int, path: str, found: Detections) -> Row:
    """Return the row of a picture that was read."""
    return Row(
        index,
        path,
        *found.image_size,
        found.boxes.tolist(),
        found.scores.tolist(),
        found.labels.tolist(),
        list(found.names),
        {stage: found.timings[stage] for stage in STAGES},
    )


def found_of(row: Row, model: Model) -> Detections:
    """Return the detections of a row as they were found. Raises InputError for a row without an answer."""
    if row.error is not None or row.width is None or row.height is None:
        raise InputError(f"{printable(row.path)} has no answer: {row.error or 'no size'}")
    return Detections(
        np.array(row.boxes, np.float32).reshape(-1, 4),
        np.array(row.scores, np.float32),
        np.array(row.labels, np.int64),
        model.classes,
        (row.width, row.height),
        {stage: value for stage, value in (row.milliseconds or {}).items() if value is not None},
        model.category_ids,
    )


def write_rows(storage: Storage, name: str, rows: Iterable[Row]) -> None:
    """Write one Parquet file of the result, atomically."""
    table = pa.Table.from_pylist([{key: getattr(row, key) for key in SCHEMA.names} for row in rows], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd")
    storage.write(name, sink.getvalue())


def read_rows(storage: Storage, name: str) -> Iterator[Row]:
    """Yield the rows of one Parquet file of the result."""
    with storage.open(name) as file:
        table: Any = pa.parquet.read_table(file, schema=SCHEMA)
    for values in table.to_pylist():
        yield Row(**values)

"""Flatbuffers of the TFLite Metadata standard, written by a table.

The standard is the public schema `metadata_schema.fbs` (TensorFlow Lite Support and MediaPipe, Apache-2.0,
version 1.5.0). Below stand those of its tables that a detector needs, field by field in the schema's order, which
is what counts in a flatbuffer; a union is two fields, its kind and the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers

IDENTIFIER = b"M001"

_TABLES = {
    "ModelMetadata": "name:string description:string version:string subgraph_metadata:[table] author:string "
    "license:string associated_files:[table] min_parser_version:string",
    "SubGraphMetadata": "name:string description:string input_tensor_metadata:[table] output_tensor_metadata:[table] "
    "associated_files:[table] input_process_units:[table] output_process_units:[table] input_tensor_groups:[table] "
    "output_tensor_groups:[table]",
    "TensorMetadata": "name:string description:string dimension_names:[string] content:table process_units:[table] "
    "stats:table associated_files:[table]",
    "TensorGroup": "name:string tensor_names:[string]",
    "AssociatedFile": "name:string description:string type:byte locale:string version:string",
    "Content": "content_properties_type:ubyte content_properties:table range:table",
    "FeatureProperties": "",
    "ImageProperties": "color_space:byte default_size:table",
    "ImageSize": "width:uint height:uint",
    "BoundingBoxProperties": "index:[uint] type:byte coordinate_type:byte",
    "ProcessUnit": "options_type:ubyte options:table",
    "NormalizationOptions": "mean:[float] std:[float]",
    "ScoreThresholdingOptions": "global_score_threshold:float",
    "Stats": "max:[float] min:[float]",
}
_FIELDS = {name: [tuple(field.split(":")) for field in fields.split()] for name, fields in _TABLES.items()}

# Members of the unions by number.
CONTENT_PROPERTIES = {"FeatureProperties": 1, "ImageProperties": 2, "BoundingBoxProperties": 3}
PROCESS_UNIT_OPTIONS = {"NormalizationOptions": 1, "ScoreThresholdingOptions": 3}

# Enumerations.
FILE_TENSOR_AXIS_LABELS, FILE_TENSOR_VALUE_LABELS = 2, 3
COLOR_SPACE_RGB = 1
BOX_BOUNDARIES = 1
COORDINATES_RATIO = 0


class Table:
    """One table: `Table("ImageSize", width=300, height=300)`. Fields that are None or left out are absent."""

    def __init__(self, kind: str, **fields: Any) -> None:
        known = [name for name, _ in _FIELDS[kind]]
        unknown = set(fields) - set(known)
        assert not unknown, f"{kind} has no {unknown}"
        self.kind = kind
        self.values = [fields.get(name) for name in known]

    def to_bytes(self) -> bytes:
        """Write this table as the root of a flatbuffer."""
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._write(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())

    def _write(self, builder: Any) -> int:
        """Write what the fields point to, then the table; return where it stands."""
        fields = list(zip(self.values, (kind for _, kind in _FIELDS[self.kind]), strict=True))
        entries = [_WRITERS[kind](builder, value) if value is not None else None for value, kind in fields]
        builder.StartObject(len(fields))
        for slot, (entry, (_, kind)) in enumerate(zip(entries, fields, strict=True)):
            if entry is not None:
                _put(builder, slot, kind, entry)
        return int(builder.EndObject())


def _put(builder: Any, slot: int, kind: str, entry: Any) -> None:
    if kind in _SCALARS:
        # The default of every scalar here is 0; standing there explicitly it would be left out.
        getattr(builder, f"Prepend{_SCALARS[kind]}Slot")(slot, entry, 0)
    else:
        builder.PrependUOffsetTRelativeSlot(slot, entry, 0)


def _vector(builder: Any, values: list[Any], prepend: str) -> Any:
    """Write a vector of 4-byte entries: offsets or numbers."""
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        getattr(builder, prepend)(value)
    return builder.EndVector()


_SCALARS = {"byte": "Int8", "ubyte": "Uint8", "uint": "Uint32", "float": "Float32"}
_WRITERS: dict[str, Callable[[Any, Any], Any]] = {
    **{kind: lambda _, value: value for kind in _SCALARS},
    "string": lambda builder, value: builder.CreateString(value),
    "table": lambda builder, value: value._write(builder),
    "[uint]": lambda builder, values: _vector(builder, values, "PrependUint32"),
    "[float]": lambda builder, values: _vector(builder, values, "PrependFloat32"),
    "[string]": lambda builder, values: _vector(
        builder, [builder.CreateString(value) for value in values], "PrependUOffsetTRelative"
    ),
    "[table]": lambda builder, values: _vector(
        builder, [value._write(builder) for value in values], "PrependUOffsetTRelative"
    ),
}

"""The standard TFLite Metadata: what MediaPipe Tasks, ML Kit and Android Studio read of a detector."""

from __future__ import annotations

from edgessd.export.tflite_file.describe import output_tensors
from edgessd.export.tflite_file.editor import Editor
from edgessd.export.tflite_file.metadata_table import (
    BOX_BOUNDARIES,
    COLOR_SPACE_RGB,
    CONTENT_PROPERTIES,
    COORDINATES_RATIO,
    FILE_TENSOR_AXIS_LABELS,
    FILE_TENSOR_VALUE_LABELS,
    PROCESS_UNIT_OPTIONS,
    Table,
)
from edgessd.spec import InputSpec, ModelSpec

METADATA_NAME = "TFLITE_METADATA"
LABEL_FILE = "labels.txt"
# Tensor groups, the youngest thing used here, came with this version of the schema.
PARSER_VERSION = "1.2.0"


def add_phone_metadata(data: bytes, spec: ModelSpec) -> bytes:
    """Return the TFLite file with the standard's metadata, and the class names in `labels.txt` of a zip behind it.

    Level nms gets all that MediaPipe Tasks' ObjectDetector asks for: normalisation of the input, and the roles
    location, category, score and number of detections of the outputs. Files of the other levels get the
    input's part and the labels.

    Such programs stretch pictures and give RGB: specs with `letterbox` or BGR are not for them. MediaPipe refuses
    float32 inputs whose mean or std differ by channel: such files need `normalize_inside`.

    Raises ModelError where the file does not fit its spec. It must be described already (`describe`).
    """
    editor = Editor(data)
    outputs = _detections() if spec.output.level == "nms" else _others(list(output_tensors(editor, spec)), spec)
    subgraph = Table(
        "SubGraphMetadata",
        input_tensor_metadata=[_image(spec.input)],
        output_tensor_metadata=outputs,
        output_tensor_groups=[_group()] if spec.output.level == "nms" else None,
    )
    model = Table(
        "ModelMetadata",
        name=spec.name,
        description=f"Detects {len(spec.classes)} kinds of objects in a picture.",
        version="1",
        license=spec.provenance.license or None,
        subgraph_metadata=[subgraph],
        min_parser_version=PARSER_VERSION,
    )
    editor.set_metadata(METADATA_NAME, model.to_bytes())
    editor.attached[LABEL_FILE] = "".join(f"{name}\n" for name in spec.classes).encode()
    return editor.to_bytes()


def _image(spec: InputSpec) -> Table:
    """The input. Its mean and std are those of the values 0..255, whatever type the tensor has."""
    low = [(0 - mean) / scale for mean, scale in zip(spec.mean, spec.scale, strict=True)]
    high = [(255 - mean) / scale for mean, scale in zip(spec.mean, spec.scale, strict=True)]
    size = Table("ImageSize", width=spec.width, height=spec.height)
    return Table(
        "TensorMetadata",
        name="image",
        description=f"{spec.channels} picture, resized to {spec.width} x {spec.height} pixels.",
        content=_content(
            Table("ImageProperties", color_space=COLOR_SPACE_RGB if spec.channels == "RGB" else None, default_size=size)
        ),
        process_units=[_unit(Table("NormalizationOptions", mean=list(spec.mean), std=list(spec.scale)))],
        stats=Table("Stats", max=high, min=low),
    )


def _detections() -> list[Table]:
    """The four outputs of TFLite_Detection_PostProcess, in its order and by the names that MediaPipe looks for."""
    boxes = Table(
        "BoundingBoxProperties",
        index=[1, 0, 3, 2],  # where left, top, right and bottom stand in (top, left, bottom, right)
        type=BOX_BOUNDARIES,
        coordinate_type=COORDINATES_RATIO,
    )
    labels = _labels(FILE_TENSOR_VALUE_LABELS, "Line n is the name of category n.")
    feature = Table("FeatureProperties")
    return [
        _output("location", "Corners of the boxes, as parts of the picture's height and width.", boxes),
        _output("category", "Categories of the boxes.", feature, labels),
        _output("score", "Scores of the boxes, 0..1.", feature),
        _output("number of detections", "How many of the boxes count.", feature),
    ]


def _others(names: list[str], spec: ModelSpec) -> list[Table]:
    """The outputs of levels raw and decoded, which only programs that know edgessd's spec can use."""
    labels = None
    if len(spec.classes) == (spec.num_logits if spec.output.level == "raw" else len(spec.classes)):
        labels = _labels(FILE_TENSOR_AXIS_LABELS, "Line n is the name of column n.")
    else:
        labels = _labels(None, "Line n is the name of column n + 1; column 0 is the background.")
    feature = Table("FeatureProperties")
    return [_output(names[0], "One row a prior, one column a class.", feature, labels)] + [
        _output(name, "One row a prior: see the entry edgessd.spec.", feature) for name in names[1:]
    ]


def _output(name: str, description: str, properties: Table, file: Table | None = None) -> Table:
    files = None if file is None else [file]
    content = _content(properties)
    return Table("TensorMetadata", name=name, description=description, content=content, associated_files=files)


def _labels(kind: int | None, description: str) -> Table:
    return Table("AssociatedFile", name=LABEL_FILE, description=description, type=kind)


def _content(properties: Table) -> Table:
    return Table("Content", content_properties_type=CONTENT_PROPERTIES[properties.kind], content_properties=properties)


def _unit(options: Table) -> Table:
    return Table("ProcessUnit", options_type=PROCESS_UNIT_OPTIONS[options.kind], options=options)


def _group() -> Table:
    return Table("TensorGroup", name="detection_result", tensor_names=["location", "category", "score"])

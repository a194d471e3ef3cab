"""OpenVINO's IR (.xml, version 10 and 11): spec, labels, inputs and outputs, without OpenVINO."""

from __future__ import annotations

from pathlib import Path

from edgessd.errors import ModelError, printable
from edgessd.io.xml import walk_xml
from edgessd.model_file.readers.facts import FileFacts, TensorFact, damaged, read_bytes
from edgessd.spec import MAX_JSON, METADATA_KEY

SPEC_PATH = tuple(METADATA_KEY.split("."))
LABELS_PATH = ("model_info", "labels")
LABELS_AT = "rt_info model_info/labels"
MAX_DEPTH = 100
MAX_ELEMENTS = 2_000_000

_TYPES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "i64": "int64", "i32": "int32",
    "i16": "int16", "i8": "int8", "i4": "int4", "u64": "uint64", "u32": "uint32", "u16": "uint16", "u8": "uint8",
    "u4": "uint4", "boolean": "bool", "fp32": "float32", "fp16": "float16", "fp64": "float64", "bool": "bool",
}  # fmt: skip


def read_openvino(path: str | Path) -> FileFacts:
    """Read an IR's .xml. Raises ModelError, with the name of the file, where it does not hold together."""
    try:
        return parse_openvino(read_bytes(path))
    except ModelError as error:
        raise type(error)(f"{printable(path)}: {error}") from None


def weights_path(path: str | Path) -> Path:
    """Return the .bin that belongs to an .xml. Raises ModelError where it is not there."""
    beside = Path(path).with_suffix(".bin")
    if not beside.is_file():
        raise ModelError(f"{printable(path)} has its weights in {printable(beside.name)}, which is not beside it")
    return beside


def parse_openvino(data: bytes) -> FileFacts:
    """Read the bytes of an .xml; see `read_openvino`. A document type, with which entities come, is refused."""
    seen = _Handler()
    try:
        walk_xml(data, seen.start, seen.end, seen.text)
    except ValueError as error:
        damaged(f"its XML: {printable(error)}")
    return seen.facts()


class _Handler:
    """Collects what is wanted while the parser goes through the file."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._elements = 0
        self._layer: dict[str, str] = {}
        self._data: dict[str, str] = {}
        self._port: dict[str, str] = {}
        self._dimensions: list[int | None] = []
        self._digits: str | None = None
        self._inputs: list[TensorFact] = []
        self._outputs: list[TensorFact] = []
        self._weights: set[str] = set()
        self._info: dict[tuple[str, ...], str] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._path) >= MAX_DEPTH or self._elements > MAX_ELEMENTS:
            damaged("its XML is too deep or too long")
        self._path.append(name)
        inside = tuple(self._path[1:])
        if len(self._path) == 1 and name != "net":
            damaged("it is no <net>")
        if inside[:1] == ("rt_info",) and "value" in attributes and inside[1:] in (SPEC_PATH, LABELS_PATH):
            self._info[inside[1:]] = attributes["value"]
        elif inside == ("layers", "layer"):
            self._layer, self._data = attributes, {}
        elif inside == ("layers", "layer", "data"):
            self._data = attributes
        elif inside[:2] == ("layers", "layer") and inside[3:] == ("port",):
            self._port, self._dimensions = attributes, []
        elif inside[:2] == ("layers", "layer") and inside[3:] == ("port", "dim"):
            self._digits = ""

    def text(self, text: str) -> None:
        if self._digits is not None and len(self._digits) < 20:
            self._digits += text

    def end(self, name: str) -> None:
        inside = tuple(self._path[1:])
        self._path.pop()
        if name == "dim" and self._digits is not None:
            size = self._digits.strip()
            self._dimensions.append(int(size) if size.isascii() and size.isdigit() else None)
            self._digits = None
        elif inside == ("layers", "layer") and self._layer.get("type") == "Const":
            self._weights.add(_TYPES.get(self._data.get("element_type", ""), "other"))
        elif inside[:2] == ("layers", "layer") and inside[3:] == ("port",):
            self._tensor(self._layer.get("type"))

    def _tensor(self, kind: str | None) -> None:
        if kind not in ("Parameter", "Result"):
            return
        dtype = _TYPES.get(self._port.get("precision", "").lower(), "other")
        if kind == "Parameter":
            name = self._port.get("names") or self._layer.get("name", "")
            self._inputs.append(TensorFact(name, tuple(self._dimensions), dtype))
        else:
            names = self._layer.get("output_names") or self._layer.get("name", "").removesuffix("/sink_port_0")
            self._outputs.append(TensorFact(names, tuple(self._dimensions), dtype))

    def facts(self) -> FileFacts:
        spec, labels = self._info.get(SPEC_PATH), self._info.get(LABELS_PATH)
        if spec is not None and len(spec) > MAX_JSON:
            damaged(f"a spec of {len(spec):,} characters")
        return FileFacts(
            "openvino",
            None if spec is None else spec.encode("utf-8", errors="replace"),
            tuple(self._inputs),
            tuple(self._outputs),
            None if labels is None else tuple(labels.split(" ")),
            LABELS_AT,
            frozenset(self._weights),
            # A tensor may have several names, separated by commas.
            {alias: each.name for each in self._outputs for alias in each.name.split(",")},
        )

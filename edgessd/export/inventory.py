"""What a model file really computes in integers: counted in the graph as its engine runs it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgessd._onnxruntime import import_onnxruntime
from edgessd._openvino import import_openvino
from edgessd.errors import ModelError
from edgessd.io.files import scratch_folder
from edgessd.model_file.kinds import file_kind

# Steps between the integer and the float part; neither.
_BORDERS = ("QuantizeLinear", "DequantizeLinear", "QUANTIZE", "DEQUANTIZE", "Convert", "Reorder")


@dataclass(frozen=True)
class Inventory:
    """Operators of the graph after the engine's own optimisation, by type.

    integer: those whose result is int8 or uint8. floating: the others. borders: quantise and dequantise steps.
    convolutions_in_float: names of convolutions that are not integer. after_border: float operators behind the
    last convolution: the stated float tail.
    """

    integer: dict[str, int]
    floating: dict[str, int]
    borders: dict[str, int]
    convolutions_in_float: tuple[str, ...] = ()
    tail: dict[str, int] = field(default_factory=dict)

    @property
    def integer_share(self) -> float:
        """Integer operators as a share of all outside the float tail (and the borders), 0..1."""
        body = sum(self.integer.values()) + sum(self.floating.values())
        return sum(self.integer.values()) / body if body else 0.0

    def lines(self) -> list[str]:
        """What a person should read."""
        found = [f"{100 * self.integer_share:.0f} % of the operators outside the float tail are integer"]
        if self.floating:
            found.append("float: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.floating.items())))
        if self.convolutions_in_float:
            names = ", ".join(self.convolutions_in_float[:5])
            found.append(f"convolutions that stayed float: {names}")
        if self.tail:
            found.append("float tail: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.tail.items())))
        return found


@dataclass(frozen=True)
class _Op:
    kind: str
    name: str
    integer: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def inventory(path: str | Path) -> Inventory:
    """Count the operators of an ONNX, TFLite or OpenVINO file. Raises ModelError for other files."""
    kind = file_kind(Path(path))
    readers = {"onnx": _onnx, "tflite": _tflite, "openvino": _openvino}
    if kind not in readers:
        raise ModelError(f"{path} is no exported file: there is nothing to count")
    return _count(readers[kind](Path(path)))


def _count(ops: list[_Op]) -> Inventory:
    is_convolution = [("conv" in op.kind.lower()) and "convert" not in op.kind.lower() for op in ops]
    before = _upstream(ops, [op for op, yes in zip(ops, is_convolution, strict=True) if yes])
    integer: Counter[str] = Counter()
    floating: Counter[str] = Counter()
    borders: Counter[str] = Counter()
    tail: Counter[str] = Counter()
    for op in ops:
        if op.kind in _BORDERS:
            borders[op.kind] += 1
        elif op.integer:
            integer[op.kind] += 1
        elif id(op) not in before:  # behind the last convolution: scores, boxes, suppression
            tail[op.kind] += 1
        else:
            floating[op.kind] += 1
    floats = tuple(op.name for op, yes in zip(ops, is_convolution, strict=True) if yes and not op.integer)
    return Inventory(dict(integer), dict(floating), dict(borders), floats, dict(tail))


def _upstream(ops: list[_Op], targets: list[_Op]) -> set[int]:
    """Ids of all operators that some target depends on, and of the targets."""
    makers = {name: op for op in ops for name in op.outputs}
    found: set[int] = set()
    waiting = list(targets)
    while waiting:
        op = waiting.pop()
        if id(op) in found:
            continue
        found.add(id(op))
        waiting.extend(makers[name] for name in op.inputs if name in makers)
    return found


def _onnx(path: Path) -> list[_Op]:
    import onnx

    onnxruntime = import_onnxruntime()

    with scratch_folder() as folder:
        optimized = folder / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(optimized)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(optimized).graph
    types = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    integer = {tensor.name: tensor.data_type in types for tensor in graph.initializer}
    integer |= {value.name: value.type.tensor_type.elem_type in types for value in graph.input}
    ops = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            result = False
        elif node.op_type == "QuantizeLinear" or node.op_type.startswith(("QLinear", "QGemm")):
            result = True
        else:
            result = bool(node.input) and integer.get(node.input[0], False)
        integer.update(dict.fromkeys(node.output, result))
        ops.append(_Op(node.op_type, node.name, result, tuple(node.input), tuple(node.output)))
    return ops


def _tflite(path: Path) -> list[_Op]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    types = (schema.TensorType.INT8, schema.TensorType.UINT8)
    ops = []
    for index, op in enumerate(graph.operators):
        code = model.operatorCodes[op.opcodeIndex]
        kind = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
        if kind == "CUSTOM" and code.customCode:
            kind = code.customCode.decode() if isinstance(code.customCode, bytes) else str(code.customCode)
        integer = graph.tensors[op.outputs[0]].type in types
        inputs, outputs = (tuple(str(tensor) for tensor in each) for each in (op.inputs, op.outputs))
        ops.append(_Op(kind, f"{kind} {index}", integer, inputs, outputs))
    return ops


def _openvino(path: Path) -> list[_Op]:
    compiled = import_openvino().Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    ops = []
    constant: set[str] = set()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info: dict[str, Any] = {key: str(value.value) for key, value in node.get_rt_info().items() if key}
        kind = info.get("layerType", node.get_type_name())
        inputs = tuple(source.get_source_output().get_node().get_friendly_name() for source in node.inputs())
        if kind in ("Const", "Constant") or (inputs and constant.issuperset(inputs)):  # weights and their reshapes
            constant.add(node.get_friendly_name())
            continue
        if kind in ("Input", "Parameter", "Output", "Result"):
            continue
        integer = info.get("runtimePrecision", "") in ("u8", "i8", "U8", "I8")
        ops.append(_Op(kind, node.get_friendly_name(), integer, inputs, (node.get_friendly_name(),)))
    return ops

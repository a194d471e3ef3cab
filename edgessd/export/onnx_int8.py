"""What an exported ONNX graph with quantise and dequantise nodes still needs to run fast.

torch quantises activations to int8; onnxruntime's kernels on x86 fuse every convolution only where activations
are uint8 and weights int8. Adding 128 to the zero points is the same function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd.errors import ModelError
from edgessd.quantization.pairs import saturating
from edgessd.spec import InputSpec

SHIFT = 128


def unsigned_activations(proto: Any) -> None:
    """Turn every per-tensor int8 quantisation into uint8 of the same scale, in place; constants with it."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    shifted: dict[str, str] = {}

    def shift(name: str) -> str:
        """Name of the constant plus 128, as uint8; made once."""
        if name not in shifted:
            values = numpy_helper.to_array(constants[name])
            shifted[name] = f"{name}_unsigned"
            proto.graph.initializer.append(
                numpy_helper.from_array((values.astype(np.int16) + SHIFT).astype(np.uint8), shifted[name])
            )
        return shifted[name]

    changed = set()
    for node in proto.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        zero_point = constants.get(node.input[2]) if len(node.input) > 2 else None
        if zero_point is None:
            raise ModelError(f"a quantisation of the graph has no zero point ({node.name}): the exporter has changed")
        if zero_point.dims and list(zero_point.dims) != [1]:
            # Weights, per channel. onnxruntime's exact kernels for processors without VNNI rewrite them and fail
            # where two share their zeros.
            own = f"{node.input[0]}.zero"
            if own not in constants:
                constants[own] = proto.graph.initializer.add()
                constants[own].CopyFrom(zero_point)
                constants[own].name = own
            node.input[2] = own
            continue
        values = numpy_helper.to_array(zero_point)
        if values.dtype != np.int8:
            continue
        node.input[2] = shift(node.input[2])
        if node.input[0] in constants:
            node.input[0] = shift(node.input[0])
        changed.add(node.output[0])
    kept = [value for value in proto.graph.value_info if value.name not in changed]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    _drop_unused(proto)


def global_pools(proto: Any) -> None:
    """Turn every mean over rows and columns into GlobalAveragePool, which has an integer kernel, in place."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for index, node in enumerate(proto.graph.node):
        if node.op_type != "ReduceMean":
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        axes = attributes.get("axes")
        if axes is None and len(node.input) > 1 and node.input[1] in constants:
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
        if axes is None or sorted(axis % 4 for axis in axes) != [2, 3] or not attributes.get("keepdims", 1):
            continue
        pool = helper.make_node("GlobalAveragePool", [node.input[0]], list(node.output), name=node.name)
        proto.graph.node[index].CopyFrom(pool)
    _drop_unused(proto)


def drop_products_with_constants(proto: Any) -> None:
    """Leave out x * c where the product has the integers of x at c times its scale, in place.

    Readers then read the integers of x, with the scale of the product, which is theirs already.
    """
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    made = {name: node for node in proto.graph.node for name in node.output}
    names: dict[str, str] = {}

    def grid(node: Any) -> tuple[float, float]:
        """Scale and zero point of a quantisation; NaN, which fits nothing, where they are not one each."""
        scale, zero_point = (constants.get(name, np.zeros(0)) for name in node.input[1:3])
        return (_scalar(scale), _scalar(zero_point)) if scale.size == zero_point.size == 1 else (np.nan, np.nan)

    for node in proto.graph.node:
        product = made.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        parts = [made.get(name) for name in product.input] if product is not None and product.op_type == "Mul" else []
        sources = [each.input[0] for each in parts if each is not None and each.op_type == "DequantizeLinear"]
        if len(sources) != 2 or sources[0] in constants or constants.get(sources[1], np.zeros(0)).size != 1:
            continue
        (before, zero_point), (step, offset), after = (grid(each) for each in (*parts, node))
        factor = (_scalar(constants[sources[1]]) - offset) * step
        if zero_point == after[1] and abs(before * factor / after[0] - 1) < 1e-5:
            names[node.output[0]] = names.get(sources[0], sources[0])
    for node in proto.graph.node:
        for index, name in enumerate(node.input):
            if name in names:
                node.input[index] = names[name]
    _drop_dead(proto)


def _drop_dead(proto: Any) -> None:
    """Leave out the nodes that no output needs, and their constants, in place."""
    needed = {value.name for value in proto.graph.output}
    kept = []
    for node in reversed(proto.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    kept.reverse()
    copies = [node.__class__() for node in kept]
    for copy, node in zip(copies, kept, strict=True):
        copy.CopyFrom(node)
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    _drop_unused(proto)


def saturating_pairs(proto: Any) -> int:
    """Count the pairs of integer weights that x86 kernels without VNNI can saturate; see `quantization.pairs`."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    made = {node.output[0]: node for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    found = 0
    for node in proto.graph.node:
        if node.op_type == "Conv" and node.input[1] in made and made[node.input[1]].input[0] in constants:
            weight = numpy_helper.to_array(constants[made[node.input[1]].input[0]])
            groups = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "group"), 1)
            found += saturating(weight, groups)
    return found


def take_bytes(proto: Any, spec: InputSpec) -> None:
    """Replace the float input [B, 3, H, W] and its quantisation by a uint8 input [B, H, W, 3], in place.

    spec: of the float input; its scale and mean are one step and the zero point of the input's quantisation.
    Raises ModelError where they are not.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = proto.graph
    name = graph.input[0].name
    readers = [node for node in graph.node if name in node.input]
    first = readers[0]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    scale = _scalar(numpy_helper.to_array(tensors[first.input[1]])) if first.op_type == "QuantizeLinear" else 0.0
    zero_point = _scalar(numpy_helper.to_array(tensors[first.input[2]])) if scale else 0.0
    if abs(scale * spec.scale[0] - 1) > 1e-5 or zero_point != spec.mean[0] or len(readers) != 1:
        raise ModelError(
            f"the input is quantised with scale {scale:g} and zero point {zero_point:g}, which is not one step a "
            "pixel: export with --input float32"
        )
    transpose = helper.make_node("Transpose", [name], [first.output[0]], perm=[0, 3, 1, 2], name="to_nchw")
    graph.node.insert(list(graph.node).index(first), transpose)
    graph.node.remove(first)
    batch = graph.input[0].type.tensor_type.shape.dim[0]
    size = batch.dim_param or batch.dim_value
    shape = [size, spec.height, spec.width, 3]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))
    _drop_unused(proto)


def input_zero_point_into_bias(proto: Any) -> None:
    """Read the bytes of the input with zero point 0, in place: the first convolution's integer bias takes it up.

    The same function; padding puts the zero point where the convolution had put zeros. OpenVINO computes a convolution
    of three channels with a zero point in float32, and this one in integers. A graph that does not begin with
    Transpose, DequantizeLinear and one integer convolution stays as it is.
    """
    from onnx import helper, numpy_helper

    graph = proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    chain, name = [], graph.input[0].name
    for kind in ("Transpose", "DequantizeLinear", "Conv"):
        readers = [node for node in graph.node if name in node.input]
        if [node.op_type for node in readers] != [kind]:
            return
        chain.append(readers[0])
        name = readers[0].output[0]
    _, image, conv = chain
    names = [made[each].input[0] for each in conv.input[1:3] if each in made]
    if len(names) != 2 or not {*names, image.input[2]} <= set(constants):
        return
    weight, bias = (numpy_helper.to_array(constants[name]).astype(np.int64) for name in names)
    zero_point = numpy_helper.to_array(constants[image.input[2]])
    limits = np.iinfo(np.int32)
    moved = np.clip(bias - int(zero_point) * weight.sum(axis=(1, 2, 3)), limits.min, limits.max)
    constants[names[1]].CopyFrom(numpy_helper.from_array(moved.astype(np.int32), names[1]))
    pads = next((attribute for attribute in conv.attribute if attribute.name == "pads"), None)
    top, left, bottom, right = pads.ints if pads is not None else (0, 0, 0, 0)
    parts = {
        "input_pads": np.array([0, 0, top, left, 0, 0, bottom, right], np.int64),
        "input_padding": zero_point,
        "input_zero": np.zeros_like(zero_point),
    }
    graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in parts.items())
    if pads is not None:
        pads.ints[:] = [0, 0, 0, 0]
        inputs = [image.input[0], "input_pads", "input_padding"]
        pad = helper.make_node("Pad", inputs, ["input_padded"], name="input_padded")
        graph.node.insert(list(graph.node).index(image), pad)
        image.input[0] = "input_padded"
    image.input[2] = "input_zero"
    _drop_unused(proto)


def _scalar(values: NDArray[Any]) -> float:
    return float(values.reshape(-1)[0])


def _drop_unused(proto: Any) -> None:
    used = {name for node in proto.graph.node for name in node.input}
    kept = [tensor for tensor in proto.graph.initializer if tensor.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def integer_biases(proto: Any) -> None:
    """Store the bias of every integer convolution as int32 at the product of its input's and weights' scales, in place.

    It is what every runtime does with a float bias when it loads the file; said in the file, all do the same.
    """
    from onnx import helper, numpy_helper

    graph = proto.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    made = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    limits = np.iinfo(np.int32)
    nodes = []
    for node in graph.node:
        if (
            node.op_type == "Conv"
            and len(node.input) == 3
            and node.input[0] in made
            and node.input[1] in made
            and node.input[2] in constants
        ):
            name = node.input[2]
            image, weight = (numpy_helper.to_array(constants[made[each].input[1]]) for each in node.input[:2])
            scale = (image.astype(np.float64).reshape(-1) * weight.reshape(-1)).astype(np.float32)
            values = np.rint(numpy_helper.to_array(constants[name]) / scale.astype(np.float64))
            parts = {
                f"{name}.integer": np.clip(values, limits.min, limits.max).astype(np.int32),
                f"{name}.scale": scale,
                f"{name}.zero": np.zeros(len(scale), np.int32),
            }
            graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in parts.items())
            output = f"{name}.dequantized"
            nodes.append(helper.make_node("DequantizeLinear", list(parts), [output], name=output, axis=0))
            node.input[2] = output
        nodes.append(node.__class__())
        nodes[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(proto)

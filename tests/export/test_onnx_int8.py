"""Passes over int8 graphs, on the bundled file: the same function as before."""

import numpy as np
import onnx
import onnxruntime

from edgessd import zoo
from edgessd.export.onnx_int8 import input_zero_point_into_bias


def test_the_zero_point_of_the_input_goes_into_the_bias():
    proto = onnx.load(zoo.resolve_model())
    image = np.random.default_rng(0).integers(0, 256, (1, 300, 300, 3)).astype(np.uint8)

    def answers():
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: image})

    before = answers()
    input_zero_point_into_bias(proto)
    onnx.checker.check_model(proto, full_check=True)
    assert any(node.name == "input_padded" for node in proto.graph.node)
    assert all(np.array_equal(a, b) for a, b in zip(before, answers(), strict=True))


def test_an_input_that_is_read_twice_keeps_its_zero_point():
    proto = onnx.load(zoo.resolve_model())
    [transpose] = [node for node in proto.graph.node if proto.graph.input[0].name in node.input]
    proto.graph.node.append(onnx.helper.make_node("Identity", [transpose.output[0]], ["second"], name="second"))
    before = proto.SerializeToString()
    input_zero_point_into_bias(proto)
    assert proto.SerializeToString() == before

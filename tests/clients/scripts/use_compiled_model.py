"""LiteRT's CompiledModel on the CPU; levels decoded and nms."""

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from common import run, scaled, suppressed, tensor_of


def load(model, facts):
    compiled = CompiledModel.from_file(model)
    inputs, outputs = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    key = next(iter(compiled.get_signature_list()))
    names = compiled.get_signature_by_index(0)["outputs"]
    shapes = [compiled.get_output_tensor_details(key)[name]["shape"] for name in names]

    def detect(picture):
        inputs[0].write(tensor_of(picture, facts))
        compiled.run_by_index(0, inputs, outputs)
        found = [
            buffer.read(int(np.prod(shape)), np.float32).reshape(shape)
            for buffer, shape in zip(outputs, shapes, strict=True)
        ]
        if len(found) == 2:
            return suppressed(*(values[0] for values in found), facts, picture)
        boxes, labels, scores, count = found
        kept = slice(int(count))
        return scaled(labels[0, kept], scores[0, kept], boxes[0, kept][:, [1, 0, 3, 2]], picture)

    return detect


run(load)

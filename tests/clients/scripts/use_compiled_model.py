"""LiteRT's CompiledModel on the CPU, by the names of the signature; levels decoded and nms."""

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from common import run, scaled, suppressed, tensor_of


def load(model, facts):
    compiled = CompiledModel.from_file(model)
    inputs, outputs = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
    (key,) = compiled.get_signature_list()
    details = compiled.get_output_tensor_details(key)
    names = compiled.get_signature_by_index(0)["outputs"]
    shapes = [details[name]["shape"] for name in names]

    def detect(picture):
        inputs[0].write(tensor_of(picture, facts))
        compiled.run_by_index(0, inputs, outputs)
        found = {
            name: buffer.read(int(np.prod(shape)), np.float32).reshape(shape)[0]
            for name, buffer, shape in zip(names, outputs, shapes, strict=True)
        }
        if "scores" in found:
            return suppressed(found["scores"], found["boxes"], facts, picture)
        count, scores, labels, boxes = (found[f"output_{number}"] for number in range(4))
        kept = slice(int(count))
        return scaled(labels[kept], scores[kept], boxes[kept][:, [1, 0, 3, 2]], picture)

    return detect


run(load)

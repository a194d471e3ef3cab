"""The Interpreter of tflite-runtime or of ai-edge-litert; levels decoded and nms, outputs by their places."""

try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    from ai_edge_litert.interpreter import Interpreter

from common import run, scaled, suppressed, tensor_of


def load(model, facts):
    engine = Interpreter(model_path=model, num_threads=1)
    engine.allocate_tensors()
    image = engine.get_input_details()[0]["index"]
    places = [detail["index"] for detail in engine.get_output_details()]

    def detect(picture):
        engine.set_tensor(image, tensor_of(picture, facts))
        engine.invoke()
        found = [engine.get_tensor(place)[0] for place in places]
        if len(found) == 2:
            return suppressed(*found, facts, picture)
        boxes, labels, scores, count = found
        kept = slice(int(count))
        return scaled(labels[kept], scores[kept], boxes[kept][:, [1, 0, 3, 2]], picture)

    return detect


run(load)

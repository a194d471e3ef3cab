"""What pycoral's `adapters.detect.get_objects` and scrypted's copy of it expect, on tflite-runtime's Interpreter.

Contract: a file with a signature has one, whose outputs output_0..3 are count, scores, classes and boxes (y1, x1, y2,
x2 as shares); a file without one has them by place. Source: pycoral 2.0, pycoral/adapters/detect.py.
"""

from common import bytes_of, run, scaled


def outputs(engine):
    """Return count, scores, classes and boxes as get_objects finds them. Raises KeyError where it does, too."""
    signatures = list(engine.get_signature_list())
    if not signatures:
        boxes, classes, scores, count = (engine.get_tensor(each["index"]) for each in engine.get_output_details())
        return count, scores, classes, boxes
    (key,) = signatures
    places = engine._get_full_signature_list()[key]["outputs"]
    return tuple(engine.get_tensor(places[f"output_{number}"]) for number in range(4))


def load(model, facts):
    from tflite_runtime.interpreter import Interpreter

    engine = Interpreter(model_path=model)
    engine.allocate_tensors()
    image = engine.get_input_details()[0]
    height, width = image["shape"][1:3]

    def detect(picture):
        engine.set_tensor(image["index"], bytes_of(picture, width, height)[None])
        engine.invoke()
        _, scores, classes, boxes = (values[0] for values in outputs(engine))
        return scaled(classes, scores, boxes[:, [1, 0, 3, 2]], picture)

    return detect


if __name__ == "__main__":
    run(load)

"""Changes to finished TFLite files, all of them bytes -> bytes.

    describe                      the spec and the names of inputs and outputs
    fold_paddings, remove_dead    a shorter graph that computes the same
    take_bytes, normalize_inside  the picture's bytes as the input
    append_decoding               level raw -> decoded
    append_detection_postprocess  level raw -> nms
    add_phone_metadata            what MediaPipe and other people's tools read

They need ai-edge-litert (the schema) and flatbuffers, which it brings.
"""

from edgessd.export.tflite_file.decoding import append_decoding
from edgessd.export.tflite_file.describe import INPUT_NAME, describe
from edgessd.export.tflite_file.detection import append_detection_postprocess
from edgessd.export.tflite_file.interface import normalize_inside, picture_input, take_bytes
from edgessd.export.tflite_file.passes import fold_paddings, remove_dead
from edgessd.export.tflite_file.phone import LABEL_FILE, add_phone_metadata

__all__ = [
    "INPUT_NAME",
    "LABEL_FILE",
    "add_phone_metadata",
    "append_decoding",
    "append_detection_postprocess",
    "describe",
    "fold_paddings",
    "normalize_inside",
    "picture_input",
    "remove_dead",
    "take_bytes",
]

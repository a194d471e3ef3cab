"""Make the bundled model: TensorFlow's SSDLite-MobileNetV2 (COCO), int8 by onnxruntime's static quantisation.

    python recipes/quantize_interim.py [--weights FILE.safetensors] [--calibration DIR]
                                       [--coco ANNOTATIONS IMAGES] [--output FILE]

The file takes the resized picture as it is, uint8 NHWC: the normalisation is the input tensor's own
scale and zero point. Activations are uint8 per tensor, weights int8 per output channel. The file
carries its COCO AP. Stands in until the project's own quantiser makes a better one.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgessd import Detector, __version__
from edgessd.datasets import load_coco
from edgessd.evaluation.coco import coco_ap
from edgessd.export.onnx import export_onnx, write_onnx
from edgessd.io.images import load_image
from edgessd.io.sources import expand
from edgessd.models.weights import tensorflow_ssdlite
from edgessd.ops.preprocess import preprocess
from edgessd.spec import InputSpec, ModelSpec, Provenance, QuantizationSpec

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
ZERO_POINT = 128


def center_input(model: onnx.ModelProto, spec: InputSpec) -> None:
    """Move the mean from 127.5 to 128, a whole number of steps, and repair the first convolution's bias.

    The border that the first convolution pads with zeros now stands for 128 instead of 127.5: the
    only thing that changes, and by half a step of a pixel.
    """
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weight, bias = tensors[first.input[1]], tensors[first.input[2]]
    shift = (ZERO_POINT - spec.mean[0]) / spec.scale[0]
    values = numpy_helper.to_array(bias) + numpy_helper.to_array(weight).sum(axis=(1, 2, 3)) * shift
    bias.CopyFrom(numpy_helper.from_array(values.astype(np.float32), bias.name))


def keep_kernel_sums(model: onnx.ModelProto) -> int:
    """Put every depthwise kernel on its int8 grid so that the sum of its taps is kept; return how many kernels.

    Plain rounding shifts the sum, and with it the answer to a flat area: most of this network's
    quantisation error comes from there. The quantiser finds the grid already filled and changes nothing.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    count = 0
    for node in model.graph.node:
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if node.op_type != "Conv" or groups == 1:
            continue
        tensor = tensors[node.input[1]]
        weight = numpy_helper.to_array(tensor)
        flat = weight.reshape(len(weight), -1).astype(np.float64)
        step = np.maximum(np.abs(flat).max(axis=1, keepdims=True) / 127, 1e-12)
        scaled = flat / step
        rounded = np.rint(scaled)
        for row, (target, grid) in enumerate(zip(scaled, rounded, strict=True)):
            missing = int(np.rint(target.sum() - grid.sum()))
            direction = np.sign(missing)
            order = np.argsort(-direction * (target - grid))
            free = [i for i in order if abs(grid[i] + direction) <= 127 and abs(target[i]) < 127 - 1e-6]
            for i in free[: abs(missing)]:
                rounded[row, i] += direction
            count += 1
        tensor.CopyFrom(numpy_helper.from_array((rounded * step).astype(np.float32).reshape(weight.shape), tensor.name))
    return count


def take_uint8_nhwc(model: onnx.ModelProto, spec: InputSpec) -> None:
    """Replace the float input and its QuantizeLinear by a uint8 NHWC input of the same scale and zero point."""
    graph = model.graph
    name = graph.input[0].name
    first = next(node for node in graph.node if name in node.input)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scale, zero_point = float(tensors[first.input[1]]), int(tensors[first.input[2]])
    if first.op_type != "QuantizeLinear" or zero_point != ZERO_POINT or abs(scale * spec.scale[0] - 1) > 1e-5:
        raise SystemExit(
            f"the input was quantised with scale {scale} and zero point {zero_point}: not one pixel a step"
        )
    transpose = helper.make_node("Transpose", [name], [first.output[0]], perm=[0, 3, 1, 2], name="to_nchw")
    graph.node.insert(list(graph.node).index(first), transpose)
    graph.node.remove(first)
    shape = ["batch", spec.height, spec.width, 3]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))


class Pictures(CalibrationDataReader):
    """Calibration pictures through the project's own preprocessing."""

    def __init__(self, pictures: list[Path], spec: InputSpec) -> None:
        self.batches: Iterator[dict[str, NDArray[np.float32]]] = (
            {"image": preprocess(load_image(picture), spec)[None]} for picture in pictures
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next picture, or None at the end."""
        return next(self.batches, None)


def quantize(float_file: Path, spec: ModelSpec, pictures: list[Path], method: str) -> tuple[onnx.ModelProto, ModelSpec]:
    """Quantise a raw-level float ONNX file; return the graph and its spec."""
    tensor = msgspec.structs.replace(spec.input, mean=(float(ZERO_POINT),) * 3)
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(str(float_file), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        center_input(model, spec.input)
        print(f"kept the sums of {keep_kernel_sums(model)} depthwise kernels")
        onnx.save(model, prepared)
        quantize_static(
            str(prepared),
            str(quantized),
            Pictures(pictures, tensor),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
        )
        model = onnx.load(quantized)
    take_uint8_nhwc(model, tensor)
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.read_bytes())
    result = msgspec.structs.replace(
        spec,
        input=msgspec.structs.replace(
            tensor,
            layout="NHWC",
            dtype="uint8",
            quantization_scale=1 / tensor.scale[0],
            quantization_zero_point=ZERO_POINT,
        ),
        # For people, not for the metric: TensorFlow's 0.6 leaves two boxes on some objects.
        defaults=msgspec.structs.replace(spec.defaults, score_threshold=0.35, iou_threshold=0.5),
        provenance=Provenance(
            edgessd=__version__,
            weights="TensorFlow Object Detection API, ssdlite_mobilenet_v2_coco_2018_05_09",
            license="Apache-2.0",
        ),
        quantization=QuantizationSpec(
            method="ptq",
            tool="onnxruntime quantize_static, sum-keeping depthwise rounding",
            calibration_images=len(pictures),
            calibration_sha256=digest.hexdigest(),
        ),
    )
    return model, result


def accuracy(model: Path, annotations: Path, images: Path) -> dict[str, float]:
    """COCO AP and AP50 in percent, with scores >= 0.01, NMS 0.6 and 100 boxes."""
    truth = load_coco(annotations, images)
    with Detector.load(model, score_threshold=0.01, iou_threshold=0.6, max_detections=100) as detector:
        values = coco_ap(truth, [detector(sample.image) for sample in truth.samples])
    return {f"coco/{images.name}/{name}": round(values[name], 2) for name in ("AP", "AP50")}


def main() -> None:
    """Load, export, quantise, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    weights = SHARED / "weights" / "ssdlite_mobilenet_v2_coco.safetensors"
    parser.add_argument("--weights", type=Path, default=weights)
    parser.add_argument("--calibration", type=Path, default=SHARED / "data" / "coco" / "train343")
    labels = SHARED / "data" / "coco" / "annotations" / "instances_val206.json"
    parser.add_argument("--coco", type=Path, nargs=2, default=[labels, SHARED / "data" / "coco" / "val206"])
    parser.add_argument("--output", type=Path, default=ROOT / "edgessd/zoo/models/ssdlite300_mobilenet_v2.onnx")
    parser.add_argument("--float-output", type=Path, help="keep the float32 ONNX file, too")
    parser.add_argument("--method", default="MinMax", choices=[method.name for method in CalibrationMethod])
    args = parser.parse_args()
    model, spec = tensorflow_ssdlite(args.weights, receptive_fields=True)
    with tempfile.TemporaryDirectory() as folder:
        float_file = args.float_output or Path(folder) / "float.onnx"
        export_onnx(model, spec, float_file)
        pictures = [Path(str(item)) for item in expand(args.calibration)]
        model, spec = quantize(float_file, spec, pictures, args.method)
    write_onnx(model, spec, args.output)
    metrics = accuracy(args.output, *args.coco)
    provenance = msgspec.structs.replace(spec.provenance, metrics=metrics)
    write_onnx(model, msgspec.structs.replace(spec, provenance=provenance), args.output)
    print(f"wrote {args.output} ({args.output.stat().st_size / 1e6:.2f} MB): {metrics}")


if __name__ == "__main__":
    main()

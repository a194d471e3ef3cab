"""SSD300, SSD512 and Faster R-CNN on VGG-16 in torch, with random weights: for times, not for accuracy.

The time of a network does not depend on its weights; that of the suppression does. So the background's logit of
the SSDs is shifted until `SURVIVORS` scores of a picture pass the paper's threshold of 0.01, about what a trained
network lets through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgessd._torchvision import torchvision
from edgessd.errors import OptionError
from edgessd.models.presets import create_model
from edgessd.models.runtime import TorchRuntime
from edgessd.ops.outputs import FinalOutputs, RawOutputs
from edgessd.ops.preprocess import preprocess
from edgessd.runtimes.base import Runtime
from edgessd.spec import UNKNOWN_PRIORS, InputSpec, ModelSpec, OutputSpec, Thresholds

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
SURVIVORS = 300


def ssd(name: str, provider: str, threads: int | None) -> ShiftedRuntime:
    """Return SSD300 or SSD512 for VOC's classes. provider: `cpu`, `cuda` or `cuda-fp16`."""
    torch.manual_seed(0)
    device, half = _device(provider)
    network, spec = create_model(name, classes=VOC_CLASSES, receptive_fields=False)
    return ShiftedRuntime(TorchRuntime((network, spec), device, threads, half=half))


class ShiftedRuntime(Runtime):
    """A runtime of level `raw` with softmax whose background wins but in about `SURVIVORS` places."""

    thread_safe = True

    def __init__(self, runtime: TorchRuntime) -> None:
        self._runtime = runtime
        self.spec, self.name = runtime.spec, runtime.name
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        logits = runtime.infer(preprocess(noise, self.spec.input)[None]).logits[0]
        self._shift = background_shift(logits, self.spec.defaults.score_threshold, SURVIVORS)

    def infer(self, batch: NDArray[Any]) -> RawOutputs:
        """Run a batch [B, 3, H, W] float32."""
        outputs = self._runtime.infer(batch)
        outputs.logits[..., 0] += self._shift
        return outputs

    def free(self) -> None:
        """Free the network."""
        self._runtime.close()


def background_shift(logits: NDArray[np.float32], threshold: float, survivors: int) -> float:
    """Return what to add to the background's logits so that `survivors` softmax scores exceed the threshold.

    logits: [P, C + 1], background first.
    """
    low, high = -30.0, 30.0
    objects = np.exp(logits[:, 1:].astype(np.float64))
    for _ in range(50):
        middle = (low + high) / 2
        total = objects.sum(axis=1) + np.exp(logits[:, 0] + middle)
        if (objects / total[:, None] > threshold).sum() > survivors:
            low = middle
        else:
            high = middle
    return high


class FasterRcnn(Runtime):
    """torchvision's Faster R-CNN on VGG-16 as in the paper it comes from, at 1000 x 600, as a runtime of level `nms`.

    proposals: boxes before the suppression, of which 300 are left behind it, as in its authors' code.
    """

    thread_safe = True

    def __init__(self, device: str, half: bool, threads: int | None, proposals: int) -> None:
        detection = torchvision.models.detection
        if threads is not None:
            torch.set_num_threads(threads)
        backbone = torchvision.models.vgg16(weights=None).features[:-1]
        backbone.out_channels = 512
        self._network = detection.FasterRCNN(
            backbone,
            num_classes=len(VOC_CLASSES) + 1,
            min_size=600,
            max_size=1000,
            rpn_anchor_generator=detection.anchor_utils.AnchorGenerator(((128, 256, 512),), ((0.5, 1.0, 2.0),)),
            rpn_pre_nms_top_n_test=proposals,
            rpn_post_nms_top_n_test=300,
            box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 7, 2),
            box_nms_thresh=0.3,
        )
        self._network.eval().to(device)
        self._device = device
        self._half = half
        self.name = f"torch ({device}{'-fp16' if half else ''})" if half or device != "cpu" else "torch"
        self.spec = ModelSpec(
            name="faster_rcnn_vgg16",
            input=InputSpec(width=1000, height=600, scale=(255.0,) * 3),
            classes=VOC_CLASSES,
            priors=UNKNOWN_PRIORS,
            scores="softmax",
            output=OutputSpec(level="nms"),
            defaults=Thresholds(score_threshold=0.05, iou_threshold=0.3, max_detections=100),
        )

    def infer(self, batch: NDArray[Any]) -> FinalOutputs:
        """Run a batch [B, 3, 600, 1000] float32 in 0..1."""
        count, most = len(batch), self.spec.defaults.max_detections
        boxes, scores = np.zeros((count, most, 4), np.float32), np.zeros((count, most), np.float32)
        labels, counts = np.full((count, most), -1, np.int64), np.zeros(count, np.int64)
        pictures = list(torch.from_numpy(np.ascontiguousarray(batch)).to(self._device))
        with torch.inference_mode(), torch.autocast(self._device, torch.float16, enabled=self._half):
            answers = self._network(pictures)
        for number, answer in enumerate(answers):
            found = {name: value.float().cpu().numpy() for name, value in answer.items()}  # waits for the GPU
            counts[number] = size = min(most, len(found["scores"]))
            boxes[number, :size] = found["boxes"][:size] / (1000, 600, 1000, 600)
            scores[number, :size] = found["scores"][:size]
            labels[number, :size] = found["labels"][:size].astype(np.int64) - 1
        return FinalOutputs(boxes, scores, labels, counts)

    def free(self) -> None:
        """Free the network."""
        del self._network


def faster_rcnn(provider: str, threads: int | None, proposals: int = 6000) -> FasterRcnn:
    """Return Faster R-CNN. provider: `cpu`, `cuda` or `cuda-fp16`. proposals: see `FasterRcnn`."""
    torch.manual_seed(0)
    device, half = _device(provider)
    return FasterRcnn(device, half, threads, proposals)


def _device(provider: str) -> tuple[str, bool]:
    device, _, precision = provider.partition("-")
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("torch finds no CUDA device on this machine")
    if device not in ("cpu", "cuda") or precision not in ("", "fp16"):
        raise OptionError(f"unknown device {provider!r}: use cpu, cuda or cuda-fp16")
    return device, precision == "fp16"

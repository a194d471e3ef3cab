"""Speed of training: matching and loss, a whole step, and the loader, against torchvision's on the same machine.

    python benchmarks/training.py [--threads 2] [--batch 32] [--images DIR] [--output FILE.json]

Prints a table. Run it alone: another process on the same cores makes parallel loops several times slower.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgessd._torchvision import torchvision
from edgessd.datasets import load_dataset
from edgessd.models.weights import torchvision_detector
from edgessd.ops.priors import caffe_priors, prior_boxes
from edgessd.training.augment import PRESETS
from edgessd.training.data import Batches, TrainingSet, make_loader
from edgessd.training.loss import MultiBoxLoss
from edgessd.training.matching import match


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--batch", type=int, default=32, help="of the loss; the whole step takes a quarter of it")
    parser.add_argument(
        "--images", type=Path, default=None, help="labelled set for the loader, such as ../shared/data/bccd"
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--skip-step", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    results = {"threads": torch.get_num_threads(), "batch": options.batch}
    results |= loss_times(options.batch, options.repeats)
    if not options.skip_step:
        results |= step_times(max(2, options.batch // 4), max(3, options.repeats // 3))
    if options.images is not None:
        results |= loader_times(options.images)
    for name, value in results.items():
        print(f"{name:52} {value:10.4g}")
    if options.output is not None:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


def objects(batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, validity and labels of pictures as full as VOC's: 2.5 objects on average, one picture without any."""
    rng = np.random.default_rng(0)
    counts = rng.geometric(0.4, batch)
    counts[-1] = 0
    most = int(counts.max())
    centers, sizes = rng.random((batch, most, 2)), rng.uniform(0.05, 0.55, (batch, most, 2))
    boxes = np.clip(np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=2), 0, 1).astype(np.float32)
    labels = rng.integers(0, 20, (batch, most))
    return torch.from_numpy(boxes), torch.from_numpy(np.arange(most) < counts[:, None]), torch.from_numpy(labels)


def loss_times(batch: int, repeats: int) -> dict[str, float]:
    """Matching and loss for SSD300's 8,732 priors and VOC's 20 classes, forwards and with the backward pass."""
    priors = torch.from_numpy(prior_boxes(caffe_priors(300)).copy())
    boxes, valid, labels = objects(batch)
    logits = torch.randn(batch, len(priors), 21, requires_grad=True)
    offsets = torch.randn(batch, len(priors), 4, requires_grad=True)
    criterion = MultiBoxLoss(priors)
    theirs = TorchvisionLoss(priors, boxes, valid, labels)

    def ours() -> Tensor:
        return criterion(logits, offsets, match(priors, boxes, valid), boxes, labels).total

    difference = abs(ours().item() - theirs(logits, offsets).item())
    assert difference < 1e-3, f"the two losses differ by {difference}"
    result: dict[str, float] = {}
    for name, backward in (("forward", False), ("forward + backward", True)):
        mine = median_ms(lambda backward=backward: run(ours, backward, logits, offsets), repeats)
        other = median_ms(
            lambda backward=backward: run(lambda: theirs(logits, offsets), backward, logits, offsets), repeats
        )
        result[f"loss, {name}: edgessd ms"] = mine
        result[f"loss, {name}: torchvision ms"] = other
        result[f"loss, {name}: times faster"] = other / mine
    return result


def run(loss: Callable[[], Tensor], backward: bool, *leaves: Tensor) -> None:
    """Compute the loss, and its gradients where they are wanted."""
    value = loss()
    if backward:
        value.backward()
        for leaf in leaves:
            leaf.grad = None


class TorchvisionLoss:
    """torchvision's SSDMatcher and SSD.compute_loss, called as its SSD calls them."""

    neg_to_pos_ratio = 3

    def __init__(self, priors: Tensor, boxes: Tensor, valid: Tensor, labels: Tensor) -> None:
        from torchvision.models.detection._utils import BoxCoder, SSDMatcher

        self.box_coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
        self.matcher = SSDMatcher(0.5)
        self.corners = torch.cat([priors[:, :2] - priors[:, 2:] / 2, priors[:, :2] + priors[:, 2:] / 2], dim=1)
        self.targets = [
            {"boxes": each[chosen], "labels": names[chosen] + 1}
            for each, chosen, names in zip(boxes, valid, labels, strict=True)
        ]

    def __call__(self, logits: Tensor, offsets: Tensor) -> Tensor:
        """Sum of both losses."""
        from torchvision.models.detection.ssd import SSD
        from torchvision.ops import box_iou

        matched = []
        for target in self.targets:
            if target["boxes"].numel() == 0:
                matched.append(torch.full((len(self.corners),), -1, dtype=torch.int64))
            else:
                matched.append(self.matcher(box_iou(target["boxes"], self.corners)))
        outputs = {"bbox_regression": offsets, "cls_logits": logits}
        losses = SSD.compute_loss(self, self.targets, outputs, [self.corners] * len(self.targets), matched)
        return losses["bbox_regression"] + losses["classification"]


def step_times(batch: int, repeats: int) -> dict[str, float]:
    """Images a second of SSDLite320 (MobileNetV3) with the same weights: our step, and torchvision's model."""
    theirs = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    ours, spec = torchvision_detector("ssdlite320_mobilenet_v3_large", theirs.state_dict())
    ours = ours.train().to(memory_format=torch.channels_last)
    theirs.train()
    priors = torch.from_numpy(prior_boxes(spec.priors).copy())
    criterion = MultiBoxLoss(priors, spec.coder)
    boxes, valid, labels = objects(batch)
    images = torch.rand(batch, 3, 320, 320)
    targets = [
        {"boxes": each[chosen] * 320, "labels": names[chosen] + 1}
        for each, chosen, names in zip(boxes, valid, labels, strict=True)
    ]
    optimizers = [torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9) for model in (ours, theirs)]

    def our_step() -> None:
        logits, offsets = ours((images * 2 - 1).contiguous(memory_format=torch.channels_last))
        criterion(logits, offsets, match(priors, boxes, valid), boxes, labels).total.backward()
        optimizers[0].step()
        optimizers[0].zero_grad()

    def their_step() -> None:
        sum(theirs(list(images), targets).values()).backward()
        optimizers[1].step()
        optimizers[1].zero_grad()

    mine, other = (batch * 1e3 / median_ms(step, repeats) for step in (our_step, their_step))
    return {
        "whole step, SSDLite320: edgessd images/s": mine,
        "whole step, SSDLite320: torchvision images/s": other,
        "whole step, SSDLite320: times faster": mine / other,
    }


def loader_times(folder: Path) -> dict[str, float]:
    """Images a second of the loader, with the paper's augmentation to 300 x 300, by number of processes."""
    from edgessd.spec import InputSpec

    data = load_dataset(folder, "train")
    result = {}
    for workers in (0, 1):
        dataset = TrainingSet(data, InputSpec(width=300, height=300), PRESETS["paper"], 0)
        count, started = 0, time.perf_counter()
        for batch in make_loader(dataset, Batches(len(dataset), 16, 0, 0), workers):
            count += len(batch.images)
        result[f"loader with {workers} processes: images/s"] = count / (time.perf_counter() - started)
    return result


def median_ms(action: Callable[[], object], repeats: int) -> float:
    """Median time of a call in milliseconds, after one that does not count."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


if __name__ == "__main__":
    main()

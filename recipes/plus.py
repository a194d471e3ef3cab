"""Trials of `edgessd-coco-plus`: the COCO network at a larger input, with a finer level, taught by an ensemble.

    python recipes/plus.py --boxes boxes.jsonl --out runs/plus [--size 364] [--exponents 1,1,1,0.5,0,0] [--fine]
        [--freeze-backbone] [--steps 2000] [--lr 4e-4]
    python recipes/plus.py --out runs/396 --size 396 --steps 0      evaluates without training
    python recipes/plus.py --out runs/mix --fine --steps 0 --start runs/frozen:0.7,runs/free:0.3

The boxes are those of `recipes/teacher.py`; pictures with labels (--labelled) take these instead. A third of the
samples are four pictures in one, so that there are small objects, the others whole, cut out or on a larger canvas.
Every prior should say what the boxes on it say, with their scores, and priors without a box nothing, or what the
untrained network says (--own): quality focal loss (Li et al. 2020) and smooth L1. Priors keep their size in pixels
where a level's exponent is 1, and their share of the picture where it is 0. --fine adds a level of stride 8: the
expanded features of block 6 plus those of block 13, enlarged. Measured on --coco, all pictures and those of --only-ids.

With SAME padding a strided layer pads on both sides of an odd map and on one side of an even one, so that cells lie
where they lay in training only at sizes whose maps are odd and even in the same order: 300, 332, 364, 396, ... (16 m -
4 with m odd). 384 is one where they do not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from steps import write_table
from torch import Tensor, nn

from edgessd import Detector
from edgessd._memory import kept
from edgessd.datasets import LabelledSet, load_coco
from edgessd.evaluation.coco import coco_ap
from edgessd.evaluation.detections import detect_all
from edgessd.io.images import load_image
from edgessd.models import SSD, create_model, load_checkpoint
from edgessd.models.checkpoint import save_checkpoint
from edgessd.models.runtime import TorchRuntime
from edgessd.ops.priors import explicit_priors, prior_boxes, tensorflow_priors
from edgessd.spec import InputSpec, ModelSpec, PriorSpec
from edgessd.training.augment import PRESETS, Augmentation, augment
from edgessd.training.data import normalize
from edgessd.training.depthwise import speed_up
from edgessd.training.device import channels_last
from edgessd.training.ema import MovingAverage
from edgessd.training.loss import encode
from edgessd.training.matching import match
from edgessd.training.norm import Folded
from edgessd.training.schedule import learning_rate
from edgessd.training.state import load_optimizer, optimizer_tensors
from edgessd.training.transfer import Source, start_heads, transfer

ROOT = Path(__file__).resolve().parent.parent
COCO = ROOT.parent / "shared/data/coco"
TRAINED = 300
WANTED = ("AP", "AP50", "AP_small", "AP_medium", "AP_large")
STATE = "state.safetensors"

FINE_CHANNELS = 96
# Pixels of the input: the first level's smallest prior is 30 x 30.
FINE_PRIORS = ((9, 9), (17, 17), (12, 21))
FINE_PARTS = ("neck.", "head.logits.0.", "head.offsets.0.")

# Shares of the samples.
MOSAIC, WHOLE, CUT = 0.35, 0.35, 0.2
LIGHT = msgspec.structs.replace(PRESETS["light"], crop=0.0)
CROPPED = msgspec.structs.replace(LIGHT, crop=1.0, crop_size=0.4)
EXPANDED = msgspec.structs.replace(LIGHT, expand=1.0, expand_side=2.0)
# Entries of the table of scores below these have next to no gradient and are left out.
LEAST_LOGIT, LEAST_TARGET = -4.0, 0.01


def build(checkpoint: Path, size: int, exponents: Sequence[float], *, fine: bool) -> tuple[SSD, ModelSpec]:
    """Return the network of an SSDLite-MobileNetV2 checkpoint for another input size, and its spec."""
    trained = load_checkpoint(checkpoint)

    def rule(maps: Sequence[tuple[int, int]]) -> PriorSpec:
        factors = [(TRAINED / size) ** exponent for exponent in exponents]
        levels = tensorflow_priors(maps[1:] if fine else maps).levels
        boxes = [
            [(w * factor, h * factor) for w, h in level.boxes] for level, factor in zip(levels, factors, strict=True)
        ]
        first = [[(w / size, h / size) for w, h in FINE_PRIORS]] if fine else []
        return explicit_priors(maps, [*first, *boxes])

    model, spec = create_model(
        "ssdlite300_mobilenet_v2",
        size=size,
        classes=trained[1].classes,
        backbone_options={"out_strides": (8, 16, 32) if fine else (16, 32)},
        top_down=FINE_CHANNELS if fine else 0,
        priors=rule,
        receptive_fields=False,
    )
    start_heads(model, spec)
    transfer(model, spec, Source(checkpoint.name, trained))
    return model.eval(), spec


@dataclass(frozen=True)
class Picture:
    """A picture with the boxes that are learnt: [G, 4] xyxy in pixels, labels [G], scores [G]."""

    path: Path
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]


def read_pictures(boxes: Path, labelled: LabelledSet, least: float) -> list[Picture]:
    """The ensemble's pictures with its boxes of at least that score; those with labels take these, with score 1."""
    known = {sample.image.resolve(): sample for sample in labelled.samples}
    found = []
    for line in map(json.loads, boxes.open()):
        path = Path(line["file"])
        sample = known.get(path.resolve())
        if sample is not None:
            real = ~sample.crowd
            labels = sample.labels[real].astype(np.int64)
            found.append(Picture(path, sample.boxes[real], labels, np.ones(len(labels), np.float32)))
            continue
        scores = np.array(line["scores"], np.float32)
        good = scores >= least
        table = np.array(line["boxes"], np.float32).reshape(-1, 4)[good]
        found.append(Picture(path, table, np.array(line["labels"], np.int64)[good], scores[good]))
    return found


class Samples:
    """Augmented batches; step N is the same in every run. Decoded pictures stay in memory."""

    def __init__(self, pictures: Sequence[Picture], spec: InputSpec, batch: int) -> None:
        self.pictures = pictures
        self.spec = spec
        self.batch = batch
        self._decoded: dict[int, NDArray[np.uint8]] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Images uint8 [B, 3, H, W], boxes [B, G, 4] xyxy in 0..1, labels, scores and which are valid [B, G]."""
        rng = np.random.default_rng([7, step])
        epoch, first = divmod(step * self.batch, len(self.pictures))
        order = np.random.default_rng([3, epoch]).permutation(len(self.pictures))
        made = [self._sample(int(order[(first + i) % len(order)]), rng) for i in range(self.batch)]
        images = np.stack([each[0] for each in made])
        images = images[..., ::-1] if self.spec.channels == "RGB" else images
        most = max(1, *(len(each[1]) for each in made))
        boxes, scores = torch.zeros(self.batch, most, 4), torch.zeros(self.batch, most)
        labels, valid = (
            torch.zeros(self.batch, most, dtype=torch.int64),
            torch.zeros(self.batch, most, dtype=torch.bool),
        )
        for row, (_, its_boxes, its_labels, its_scores) in enumerate(made):
            count = len(its_boxes)
            boxes[row, :count] = torch.from_numpy(its_boxes)
            labels[row, :count], scores[row, :count] = torch.from_numpy(its_labels), torch.from_numpy(its_scores)
            valid[row, :count] = True
        return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2), boxes, labels, scores, valid

    def _sample(self, number: int, rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        kind, width, height = rng.random(), self.spec.width, self.spec.height
        if kind >= MOSAIC:
            whole, cut = kind < MOSAIC + WHOLE, kind < MOSAIC + WHOLE + CUT
            return self._one(number, width, height, LIGHT if whole else CROPPED if cut else EXPANDED, rng)
        x, y = (int(side * rng.uniform(0.35, 0.65)) for side in (width, height))
        canvas, parts = np.empty((height, width, 3), np.uint8), []
        for left, top, right, bottom in ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)):
            chosen = number if (left, top) == (0, 0) else int(rng.integers(len(self.pictures)))
            how = LIGHT if rng.random() < 0.5 else CROPPED
            image, boxes, labels, scores = self._one(chosen, right - left, bottom - top, how, rng)
            canvas[top:bottom, left:right] = image
            place, whole_size = np.array([left, top] * 2), np.array([width, height] * 2)
            moved = (boxes * np.array([right - left, bottom - top] * 2) + place) / whole_size
            parts.append((moved.astype(np.float32), labels, scores))
        return canvas, *(np.concatenate(column) for column in zip(*parts, strict=True))

    def _one(
        self, number: int, width: int, height: int, how: Augmentation, rng: np.random.Generator
    ) -> tuple[NDArray[Any], ...]:
        picture = self.pictures[number]
        if number not in self._decoded:
            self._decoded[number] = load_image(picture.path)
        spec = msgspec.structs.replace(self.spec, width=width, height=height)
        image, boxes, chosen = augment(self._decoded[number], picture.boxes, spec, how, rng)
        return image, boxes.astype(np.float32), picture.labels[chosen], picture.scores[chosen]


class SoftObjective:
    """What every prior should say, and what it costs that it does not."""

    def __init__(self, spec: ModelSpec) -> None:
        self.coder = spec.coder
        self.priors = torch.from_numpy(prior_boxes(spec.priors).copy())

    def __call__(
        self,
        predictions: tuple[Tensor, Tensor],
        own: Tensor | None,
        boxes: Tensor,
        labels: Tensor,
        scores: Tensor,
        valid: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of classes and boxes, divided by the sum of the matched priors' scores.

        predictions: logits [B, P, C] and offsets [B, P, 4]. own: scores [B, Q, C] that the last Q priors should keep
        where no box is on them, None for 0. boxes, labels, scores, valid: as of `Samples`.
        """
        logits, offsets = predictions
        with torch.no_grad():
            matched = match(self.priors, boxes, valid)
            wanted = torch.zeros(logits.shape)
            if own is not None:
                wanted[:, logits.shape[1] - own.shape[1] :] = own
                wanted[matched >= 0] = 0
            image, prior = (matched >= 0).nonzero(as_tuple=True)
            which = matched[image, prior]
            weights = scores[image, which]
            wanted[image, prior, labels[image, which]] = weights
            chosen = ((logits > LEAST_LOGIT) | (wanted > LEAST_TARGET)).view(-1).nonzero()[:, 0]
        values, targets = logits.reshape(-1)[chosen].float(), wanted.view(-1)[chosen]
        distance = (targets - values.detach().sigmoid()).square()
        classes = (F.binary_cross_entropy_with_logits(values, targets, reduction="none") * distance).sum()
        places = encode(boxes[image, which], self.priors[prior], self.coder)
        location = F.smooth_l1_loss(offsets[image, prior].float(), places, reduction="none").sum(dim=1)
        normalizer = weights.sum().clamp(min=1)
        return classes / normalizer, (location * weights).sum() / normalizer


class Run:
    """A trial: trained to the end, or on from where it was stopped."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        exponents = [float(each) for each in args.exponents.split(",")]
        self.shell, self.spec = build(args.init, args.size, exponents, fine=args.fine)
        self.truth: dict[str, LabelledSet] = {"": load_coco(*args.coco)}
        if args.only_ids:
            ids = [int(line) for line in args.only_ids.read_text().split()]
            self.truth["chosen "] = load_coco(*args.coco, ids=ids)
        self.rows: list[dict[str, Any]] = []
        example = torch.randn(1, *self.spec.input.tensor_shape, generator=torch.Generator().manual_seed(0))
        self.folded = Folded(self.shell, example)
        self.network = self.folded.network
        if args.start:
            self.network.load_state_dict(mixture(args.start))
            self.shell.load_state_dict(self.folded.restore(self.network.state_dict()))
        if not args.steps:
            return
        self.before: SSD | None = None
        if args.own:
            before, _ = build(args.init, args.size, exponents, fine=False)
            self.before = Folded(before, example).network.eval().requires_grad_(False)
            channels_last(self.before)
        if args.freeze_backbone:
            self.network.backbone.requires_grad_(False)
        channels_last(self.network)
        speed_up(self.network)
        groups: dict[float, list[Tensor]] = {args.lr: [], args.new_lr: []}
        for name, value in self.network.named_parameters():
            if value.requires_grad:
                groups[args.new_lr if args.fine and name.startswith(FINE_PARTS) else args.lr].append(value)
        self.optimizer = torch.optim.SGD(
            [{"params": values, "lr": rate, "base": rate} for rate, values in groups.items() if values],
            momentum=0.9,
            weight_decay=4e-5,
        )
        self.average = MovingAverage(self.network, 0.998)
        labelled = load_coco(*args.labelled)
        pictures = read_pictures(args.boxes, labelled, args.least)
        print(f"{len(pictures)} pictures, {sum(len(each.labels) for each in pictures)} boxes", flush=True)
        self.samples = Samples(pictures, self.spec.input, args.batch_size)
        self.objective = SoftObjective(self.spec)

    def evaluate(self, step: int) -> None:
        """A row of figures of the averaged weights."""
        row: dict[str, Any] = {"step": step, "levels": " ".join(str(level.rows) for level in self.spec.priors.levels)}
        runtime = TorchRuntime((self.shell.eval(), self.spec), threads=self.args.threads)
        with Detector(runtime) as detector:
            for prefix, truth in self.truth.items():
                figures = coco_ap(truth, detect_all(detector, truth))
                row |= {prefix + key: round(figures[key], 1) for key in WANTED}
        self.rows.append(row)
        write_table(self.args.out, "trial", self.rows)

    def train(self) -> None:
        """Train, evaluating and saving every `--every` steps."""
        args = self.args
        first = self.resumed() if (args.out / STATE).exists() else 0
        if not first:
            self.evaluate(0)
        started, sums = time.perf_counter(), [0.0, 0.0]
        for step in range(first, args.steps):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(step, args.steps, group["base"], warmup=150, last=0.02)
            losses = self.step(step)
            sums = [total + value for total, value in zip(sums, losses, strict=True)]
            if (step + 1) % 50 == 0:
                speed = (step + 1 - first) * args.batch_size / (time.perf_counter() - started)
                print(f"{step + 1}: classes {sums[0] / 50:.3f}, boxes {sums[1] / 50:.3f}, {speed:.1f}/s", flush=True)
                sums = [0.0, 0.0]
            if (step + 1) % args.every == 0 or step + 1 == args.steps:
                self.shell.load_state_dict(self.folded.restore(self.average.tensors))
                self.evaluate(step + 1)
                self.save(step + 1)

    def step(self, number: int) -> tuple[float, float]:
        """One update; the losses of classes and boxes."""
        images, boxes, labels, scores, valid = self.samples(number)
        pictures = normalize(images, self.spec.input).contiguous(memory_format=torch.channels_last)
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                own = None if self.before is None else self.before(pictures)[0].float().sigmoid() * self.args.own
            predictions = self.network(pictures)
        classes, location = self.objective(predictions, own, boxes, labels, scores, valid)
        self.optimizer.zero_grad()
        (classes + location).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.average.update(self.network)
        return float(classes), float(location)

    def save(self, step: int) -> None:
        """Write what a continuation needs."""
        state = {f"model.{key}": value for key, value in self.network.state_dict().items()}
        state |= {f"average.{key}": value for key, value in self.average.tensors.items()}
        state |= {f"optimizer.{key}": value for key, value in optimizer_tensors(self.optimizer).items()}
        tensors = {key: value.detach().contiguous() for key, value in state.items()}
        counts = {"step": str(step), "updates": str(self.average.updates)}
        save_file(tensors, self.args.out / f"{STATE}.part", {**counts, "rows": json.dumps(self.rows)})
        (self.args.out / f"{STATE}.part").replace(self.args.out / STATE)
        save_checkpoint(self.args.out / "last.safetensors", self.shell, self.spec)

    def resumed(self) -> int:
        """Take up a saved run; its step."""
        file = self.args.out / STATE
        with safe_open(file, "pt") as opened:
            said = opened.metadata()
        tensors = load_file(file)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for key, value in tensors.items():
            kind, _, name = key.partition(".")
            parts[kind][name] = value
        self.network.load_state_dict(parts["model"])
        channels_last(self.network)
        self.average.load(parts["average"], int(said["updates"]))
        load_optimizer(self.optimizer, parts["optimizer"])
        self.rows = json.loads(said["rows"])
        return int(said["step"])


def mixture(folders: str) -> dict[str, Tensor]:
    """The averaged weights of trials, `FOLDER[:SHARE],...`, mixed by their shares (Wortsman et al. 2022)."""
    result: dict[str, Tensor] = {}
    for each in folders.split(","):
        folder, _, share = each.partition(":")
        for key, value in load_file(Path(folder) / STATE).items():
            kind, _, name = key.partition(".")
            if kind == "average":
                part = value * float(share or 1)
                result[name] = result[name] + part if name in result else part
    return result


def main() -> None:
    """Run a trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--init", type=Path, default=ROOT / "runs/coco/float.safetensors", help="of recipes/coco.py")
    parser.add_argument("--start", help="trials to go on from: FOLDER, or FOLDER:SHARE,FOLDER:SHARE to mix")
    parser.add_argument("--boxes", type=Path, help="of recipes/teacher.py")
    annotations = COCO / "annotations"
    pair = {"nargs": 2, "metavar": ("ANNOTATIONS", "IMAGES"), "type": Path}
    parser.add_argument("--labelled", default=[annotations / "instances_train343.json", COCO / "train343"], **pair)
    parser.add_argument("--coco", default=[annotations / "instances_val206.json", COCO / "val206"], **pair)
    parser.add_argument("--only-ids", type=Path, help="text file of image ids to measure on as well")
    parser.add_argument("--size", type=int, default=364)
    parser.add_argument("--exponents", default="1,1,1,0.5,0,0", help="one for each level but the fine one")
    parser.add_argument("--fine", action="store_true")
    parser.add_argument("--freeze-backbone", action="store_true")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--new-lr", type=float, default=1e-2, help="of the fine level")
    parser.add_argument("--own", type=float, default=0.0, help="share of its scores that a prior keeps where no box is")
    parser.add_argument("--least", type=float, default=0.1, help="score of the ensemble's boxes that are learnt")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.steps and args.boxes is None:
        parser.error("training needs --boxes")
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    run = Run(args)
    with kept():
        if args.steps:
            run.train()
            return
        run.evaluate(0)
        save_checkpoint(args.out / "last.safetensors", run.shell, run.spec)


if __name__ == "__main__":
    main()

"""From a labelled set to batches of tensors.

B batch, G objects of the fullest picture of the batch, H and W of the model's input.

What a sample looks like depends on the seed, the epoch and its number alone, never on the worker that
made it: a run with other workers, or one that was stopped and resumed, sees the same batches.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgessd._cv2 import cv2
from edgessd._signals import WISHES
from edgessd.datasets import LabelledSet
from edgessd.errors import EdgeSSDError
from edgessd.io.images import load_image
from edgessd.spec import InputSpec
from edgessd.training.augment import Augmentation, augment


class Key(NamedTuple):
    """What to make: sample `sample` in `epoch`; `turn` counts its repetitions where a batch needs more than exist.

    size: side of the input in pixels; 0 is the spec's own.
    """

    epoch: int
    sample: int
    turn: int
    size: int = 0

    def random(self, seed: int) -> np.random.Generator:
        """The random numbers of this sample."""
        return np.random.default_rng([seed, self.epoch, self.sample, self.turn])

    def input(self, spec: InputSpec) -> InputSpec:
        """The spec of the input that is made."""
        return msgspec.structs.replace(spec, width=self.size, height=self.size) if self.size else spec


@dataclass(frozen=True, eq=False)
class Item:
    """One picture, ready for a batch; `failure` says why there is none.

    image: uint8 [H, W, 3] in the channel order of the model. boxes: [G, 4] xyxy, 0..1 of the input.
    """

    key: Key
    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    failure: str = ""


class Batch(NamedTuple):
    """A batch on one device.

    images: uint8 [B, 3, H, W], stored channels last. boxes: [B, G, 4] xyxy, 0..1 of the input. labels: [B, G].
    valid: [B, G], what is no padding. ignore, crowd: [B, G], VOC's difficult and COCO's iscrowd.
    usable: [B], False where the picture could not be read; such a place takes no part in the loss.
    indices: [B], numbers of the samples. failures: (number, reason) of those that could not be read.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor
    valid: Tensor
    ignore: Tensor
    crowd: Tensor
    usable: Tensor
    indices: Tensor
    failures: tuple[tuple[int, str], ...]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return self._map(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; DataLoader asks for it."""
        return self._map(lambda part: part.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values: dict[str, Any] = {key: change(part) for key, part in self._asdict().items() if isinstance(part, Tensor)}
        return self._replace(**values)


class TrainingSet(Dataset[Item]):
    """Samples of a labelled set, augmented and resized; asked for by `Key`.

    labels: model label of each class of the set; -1 leaves its objects out. A picture that cannot be read
    becomes an item with `failure`; it never raises.
    """

    def __init__(
        self, data: LabelledSet, spec: InputSpec, options: Augmentation, seed: int, labels: Sequence[int] | None = None
    ) -> None:
        self.data = data
        self.spec = spec
        self.options = options
        self.seed = seed
        self.labels = np.arange(len(data.classes)) if labels is None else np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self.data.samples)

    def __getitem__(self, key: Key) -> Item:
        """Make the item; the same key gives the same item, in every process."""
        sample, spec = self.data.samples[key.sample], key.input(self.spec)
        try:
            image = load_image(sample.image)
        except EdgeSSDError as error:
            return _item_of_failure(key, spec, str(error))
        known = np.flatnonzero(self.labels[sample.labels] >= 0) if len(sample.labels) else np.zeros(0, np.int64)
        picture, boxes, kept = augment(image, sample.boxes[known], spec, self.options, key.random(self.seed))
        chosen = known[kept]
        return Item(
            key,
            _channels(picture, spec),
            boxes,
            self.labels[sample.labels[chosen]] if len(chosen) else np.zeros(0, np.int64),
            sample.difficult[chosen],
            sample.crowd[chosen],
        )


class PictureSet(Dataset[Item]):
    """Pictures without labels, flipped and cropped as `options` say; asked for by `Key`."""

    def __init__(self, paths: Sequence[Path], spec: InputSpec, options: Augmentation, seed: int) -> None:
        self.paths = paths
        self.spec = spec
        self.options = options
        self.seed = seed

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: Key) -> Item:
        """Make the item, which has no objects."""
        spec = key.input(self.spec)
        try:
            image = load_image(self.paths[key.sample])
        except EdgeSSDError as error:
            return _item_of_failure(key, spec, str(error))
        none = np.zeros((0, 4), np.float32)
        picture, _, _ = augment(image, none, spec, self.options, key.random(self.seed))
        return _item_without_objects(key, _channels(picture, spec), "")


def _channels(picture: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)) if spec.channels == "RGB" else picture


def _item_of_failure(key: Key, spec: InputSpec, reason: str) -> Item:
    return _item_without_objects(key, np.zeros((spec.height, spec.width, 3), np.uint8), reason)


def _item_without_objects(key: Key, picture: NDArray[np.uint8], reason: str) -> Item:
    none = np.zeros(0, bool)
    return Item(key, picture, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), none, none, reason)


def collate(items: Sequence[Item]) -> Batch:
    """Put items into a batch; a picture that could not be read is replaced by another one, which does not count.

    So the batch keeps its size in every process, and batch norm sees real pictures.
    """
    good = [item for item in items if not item.failure]
    pictures = [item.image if not item.failure or not good else good[0].image for item in items]
    most = max(1, *(len(item.boxes) for item in items)) if items else 1
    boxes = np.zeros((len(items), most, 4), np.float32)
    labels = np.zeros((len(items), most), np.int64)
    valid, ignore, crowd = (np.zeros((len(items), most), bool) for _ in range(3))
    for row, item in enumerate(items):
        count = len(item.boxes)
        boxes[row, :count], labels[row, :count] = item.boxes, item.labels
        valid[row, :count], ignore[row, :count], crowd[row, :count] = True, item.ignore, item.crowd
    return Batch(
        torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2),
        torch.from_numpy(boxes),
        torch.from_numpy(labels),
        torch.from_numpy(valid),
        torch.from_numpy(ignore),
        torch.from_numpy(crowd),
        torch.tensor([not item.failure for item in items]),
        torch.tensor([item.key.sample for item in items]),
        tuple((item.key.sample, item.failure) for item in items if item.failure),
    )


class Batches(Sampler[list[Key]]):
    """The batches of one epoch for one process, from step `start` on.

    Each epoch has its own permutation. It is cut into batches for all processes together, and each takes its
    slice, so that P processes with a batch of B see what one process with a batch of P * B sees. Every
    batch is full: the last one of an epoch is filled up from the start of the permutation.
    sizes: gives the input size for (epoch, step); None leaves it at the spec's.
    """

    def __init__(
        self,
        length: int,
        batch: int,
        seed: int,
        epoch: int,
        *,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        sizes: Callable[[int, int], int] | None = None,
    ) -> None:
        self.length = length
        self.batch = batch
        self.seed = seed
        self.epoch = epoch
        self.start = start
        self.rank = rank
        self.world = world
        self.sizes = sizes

    @property
    def steps(self) -> int:
        """Batches of the whole epoch, for each process."""
        return max(1, -(-self.length // (self.batch * self.world)))

    def __len__(self) -> int:
        return max(0, self.steps - self.start)

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        for step in range(self.start, self.steps):
            first = (step * self.world + self.rank) * self.batch
            places = range(first, first + self.batch)
            size = self.sizes(self.epoch, step) if self.sizes else 0
            yield [Key(self.epoch, int(order[place % self.length]), place // self.length, size) for place in places]


def make_loader(dataset: Dataset[Item], batches: Batches, workers: int, *, pin: bool = False) -> DataLoader[Item]:
    """Return a loader of `Batch`es; `workers` processes make them ahead, 0 makes them when they are asked for."""
    if workers:
        # Here and not in the workers: OpenCV's threads do not survive the fork, and it would wait for them for ever.
        cv2.setNumThreads(1)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        worker_init_fn=_start_worker if workers else None,
        prefetch_factor=4 if workers else None,
    )


def _start_worker(_: int) -> None:
    # Ctrl-C goes to the whole process group; the main process decides what to do about it.
    for number in WISHES:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def normalize(images: Tensor, spec: InputSpec) -> Tensor:
    """uint8 [B, 3, H, W] in the model's channel order to its input: the values of `ops.preprocess.value_table`."""
    mean = torch.tensor(spec.mean, dtype=torch.float32, device=images.device).view(1, 3, 1, 1)
    scale = torch.tensor(spec.scale, dtype=torch.float32, device=images.device).view(1, 3, 1, 1)
    return (images.float() - mean) / scale

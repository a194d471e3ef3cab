"""Whether an exported file answers what its checkpoint answers: measured on real pictures, held to limits."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from edgessd import zoo
from edgessd.datasets import load_dataset
from edgessd.detector import Detector
from edgessd.errors import InputError, ModelError
from edgessd.evaluation import evaluate
from edgessd.evaluation.distance import Distance, add_differences, summed
from edgessd.evaluation.protocols import Metric
from edgessd.export.inventory import inventory
from edgessd.io.files import write_text_atomic
from edgessd.io.images import load_image
from edgessd.io.sources import expand
from edgessd.models.runtime import TorchRuntime
from edgessd.ops.boxes import decode, iou_matrix
from edgessd.ops.outputs import DecodedOutputs, RawOutputs
from edgessd.ops.postprocess import Found, postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.ops.priors import inside_mask, prior_boxes
from edgessd.ops.scores import class_scores
from edgessd.quantization.runtime import load_network
from edgessd.runtimes import load_runtime

SUFFIX = ".verify.json"
TIMED_RUNS = 20
SATURATES = (
    "weights of this checkpoint can saturate in other programs on x86 processors without VNNI, which then answer "
    "wrong: quantise the float checkpoint again"
)


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a file may differ by. rms: relative RMS of either raw output. agreement: least share of equal detections."""

    rms: float
    agreement: float


# Rounding of the formats: float32 differs in the order of sums, float16 by its 11 bits, int8 by the rounded
# biases and the requantisation that each runtime does in its own way (quantisation itself is in the checkpoint).
LIMITS = {
    "fp32": Limits(rms=1e-4, agreement=0.99),
    "fp16": Limits(rms=0.02, agreement=0.95),
    "int8": Limits(rms=0.08, agreement=0.85),
}


class Report(Struct, frozen=True, kw_only=True):
    """What was measured.

    rms_logits, rms_offsets: relative to the RMS of the checkpoint's outputs (level `raw`; `decoded`: of scores and
    boxes; None for `nms`). rms_boxes, rms_scores: see `evaluation.distance.Distance`. agreement: detections that
    have a partner (same class, IoU >= 0.5) on the other side, as a share of all of both sides; 1 where neither finds
    any. detections: of the checkpoint and of the file. score_difference: mean over partners. milliseconds: median of
    one run of the network by the number of threads. integer_share and what follows: see `inventory`. accuracy: of
    the file on the data set that was given. failures: limits that do not hold; empty is well.
    """

    file: str
    checkpoint: str
    precision: str
    level: str
    runtime: str
    pictures: int
    rms_logits: float | None
    rms_offsets: float | None
    rms_boxes: float | None
    rms_scores: float | None
    agreement: float
    detections: tuple[int, int]
    score_difference: float
    milliseconds: dict[str, float]
    megabytes: float
    limits: Limits
    integer_share: float | None = None
    integer: dict[str, int] = msgspec.field(default_factory=dict)
    floating: dict[str, int] = msgspec.field(default_factory=dict)
    tail: dict[str, int] = msgspec.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    accuracy: dict[str, float] = msgspec.field(default_factory=dict)
    failures: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What a person should read, one fact a line."""
        found = []
        if self.rms_logits is not None and self.rms_offsets is not None:
            names = ("logits", "offsets") if self.level == "raw" else ("scores", "boxes")
            found.append(
                f"relative RMS against the checkpoint on {self.pictures} pictures: {names[0]} {self.rms_logits:.2g}, "
                f"{names[1]} {self.rms_offsets:.2g} (limit {self.limits.rms:g})"
            )
        found.append(
            f"detections: {self.detections[1]} of the file, {self.detections[0]} of the checkpoint, "
            f"{100 * self.agreement:.1f} % agree (limit {100 * self.limits.agreement:g} %), "
            f"scores differ by {self.score_difference:.3f}"
        )
        times = ", ".join(f"{value:.2f} ms on {key} thread" for key, value in self.milliseconds.items())
        found.append(f"{self.runtime}: {times}; {self.megabytes:.2f} MB")
        found += self.notes
        found += [f"{name}: {value:.2f}" for name, value in self.accuracy.items()]
        return found


def verify(
    path: str | Path,
    checkpoint: Any,
    *,
    images: Any = None,
    limits: Limits | None = None,
    data: str | None = None,
    split: str | None = None,
    metric: Metric = "voc",
    limit: int | None = None,
) -> Report:
    """Run an exported file and its checkpoint on real pictures and return how they compare.

    checkpoint: its path, or (network in torch, spec). images: anything `Detector.stream` takes; None is the four
    bundled photographs. limits: None takes those of the precision. data, split, metric, limit: a labelled set to
    measure the file's accuracy on, as in `edgessd evaluate`.

    A file beyond the limits is no error here: `Report.failures` says what does not hold.
    Raises ModelError, InputError and OptionError for what cannot be read.
    """
    pictures = [load_image(item) for item in expand(images if images is not None else zoo.photos())]
    if not pictures:
        raise InputError(f"{images} holds no pictures to compare the file on")
    reference = TorchRuntime(checkpoint if isinstance(checkpoint, tuple) else load_network(checkpoint))
    runtime = load_runtime(path, threads=1)
    spec = runtime.spec
    bounds = limits or LIMITS[spec.precision]
    sums = np.zeros((4, 2))
    partners, total, difference, counts = 0, 0, 0.0, [0, 0]
    for picture in pictures:
        result = runtime.run(preprocess(picture, spec.input)[None])
        expected = reference.infer(preprocess(picture, reference.spec.input)[None])
        if isinstance(result, RawOutputs):
            add_differences(sums, result, expected, reference.spec)
        elif isinstance(result, DecodedOutputs):
            _add_decoded(sums, result, expected, reference)
        size = picture.shape[1], picture.shape[0]
        found, known = postprocess(result, spec, size), postprocess(expected, reference.spec, size)
        pairs = _pairs(found, known)
        partners += 2 * len(pairs)
        total += len(found.scores) + len(known.scores)
        difference += sum(abs(float(found.scores[a] - known.scores[b])) for a, b in pairs)
        counts[0] += len(known.scores)
        counts[1] += len(found.scores)
    away: Distance | None = None if spec.output.level == "nms" else summed(sums)
    agreement = partners / total if total else 1.0
    failures = _failures(away, agreement, bounds, spec.output.level)
    notes: tuple[str, ...] = ()
    parts: dict[str, Any] = {}
    if spec.precision == "int8" and spec.output.layout != "opencv":  # OpenCV does not say what it computes in
        counted = inventory(path)
        notes = tuple(counted.lines())
        if Path(path).suffix != ".tflite" and spec.quantization and not spec.quantization.saturation_free:
            notes += (SATURATES,)
        parts = {
            "integer_share": counted.integer_share,
            "integer": counted.integer,
            "floating": counted.floating,
            "tail": counted.tail,
        }
    report = Report(
        file=Path(path).name,
        checkpoint=Path(checkpoint).name if isinstance(checkpoint, str | Path) else spec.name,
        precision=spec.precision,
        level=spec.output.level,
        runtime=runtime.name,
        pictures=len(pictures),
        rms_logits=None if away is None else away.logits,
        rms_offsets=None if away is None else away.offsets,
        rms_boxes=_none_if_nan(away.boxes) if away is not None and spec.output.level == "raw" else None,
        rms_scores=_none_if_nan(away.scores) if away is not None and spec.output.level == "raw" else None,
        agreement=agreement,
        detections=(counts[0], counts[1]),
        score_difference=difference / (partners / 2) if partners else 0.0,
        milliseconds={"1": _time(runtime, preprocess(pictures[0], spec.input)[None])},
        megabytes=_size(Path(path)) / 1e6,
        limits=bounds,
        notes=notes,
        accuracy=_accuracy(path, data, split, metric, limit),
        failures=failures,
        **parts,
    )
    runtime.close()
    return report


def write_report(path: str | Path, report: Report) -> Path:
    """Write a report as JSON beside the model file and return where."""
    target = Path(f"{path}{SUFFIX}")
    write_text_atomic(target, msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    return target


def _failures(away: Distance | None, agreement: float, limits: Limits, level: str) -> tuple[str, ...]:
    found = []
    names = ("logits", "offsets") if level == "raw" else ("scores", "boxes")
    for name, value in () if away is None else zip(names, (away.logits, away.offsets), strict=True):
        if not value <= limits.rms:
            found.append(f"relative RMS of the {name} is {value:.3g}, the limit is {limits.rms:g}")
    if agreement < limits.agreement:
        found.append(f"{100 * agreement:.1f} % of the detections agree, the limit is {100 * limits.agreement:g} %")
    return tuple(found)


def _add_decoded(sums: Any, result: DecodedOutputs, expected: RawOutputs, reference: Any) -> None:
    spec = reference.spec
    scores = class_scores(expected.logits, spec.scores)
    if spec.priors.exclude_boundary:
        scores = scores * inside_mask(spec.priors)[None, :, None]
    boxes = decode(expected.offsets[0], prior_boxes(spec.priors), spec.coder)[None]
    for row, (a, b) in enumerate(((result.scores, scores), (result.boxes, boxes))):
        sums[row] += [np.square(a - b, dtype=np.float64).sum(), np.square(b, dtype=np.float64).sum()]


def _pairs(found: Found, known: Found) -> list[tuple[int, int]]:
    """Partners of the same class with IoU >= 0.5, the best overlaps first, each used once."""
    if not len(found.scores) or not len(known.scores):
        return []
    table = iou_matrix(found.boxes, known.boxes)
    table = np.where(found.labels[:, None] == known.labels[None, :], table, 0)
    pairs = []
    while table.max() >= 0.5:
        row, column = np.unravel_index(int(table.argmax()), table.shape)
        pairs.append((int(row), int(column)))
        table[row], table[:, column] = 0, 0
    return pairs


def _time(runtime: Any, tensor: Any) -> float:
    for _ in range(3):
        runtime.run(tensor)
    times = []
    for _ in range(TIMED_RUNS):
        started = time.perf_counter()
        runtime.run(tensor)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e3, 3)


def _size(path: Path) -> int:
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" and weights.exists() else 0)


def _accuracy(
    path: str | Path, data: str | None, split: str | None, metric: Metric, limit: int | None
) -> dict[str, float]:
    if data is None:
        return {}
    truth = load_dataset(data, split)
    if limit is not None:
        truth = truth.take(range(min(limit, len(truth))))
    with Detector.load(path) as detector:
        return dict(evaluate(truth, detector, metric).figures)


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else value


def check(report: Report) -> None:
    """Raise ModelError where a report holds a failure."""
    if report.failures:
        raise ModelError(f"{report.file} does not answer as its checkpoint: {'; '.join(report.failures)}")

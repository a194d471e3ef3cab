"""Specs, random outputs and the programs that the code of a bundle is compared by.

A case in the programs' input: seven int32 (type, width, height, max_detections, max_candidates, two zero points),
three float32 (two scales, padding), two float64 (thresholds), logits, offsets. The answer: int32 count, then for each
detection int32 label, float32 score, x1, y1, x2, y2.
"""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from edgessd.apps.bundle import code
from edgessd.model_file import TensorFact
from edgessd.ops.outputs import RawOutputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.priors import caffe_priors, explicit_priors, paper_priors, tensorflow_priors
from edgessd.spec import CoderSpec, InputSpec, ModelSpec, Thresholds

HERE = Path(__file__).parent / "code"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wvla")
TYPES = {"float32": 0, "int8": 1, "uint8": 2, "int16": 3}
SCALES = ((0.0523215, 25), (0.0636215, 57))
HEADER = struct.Struct("<7i3f2d")


@dataclass
class Case:
    """Raw outputs of one picture, as float32 or integers, and how they are to be postprocessed."""

    logits: np.ndarray
    offsets: np.ndarray
    size: tuple[int, int] = (640, 480)
    limits: Thresholds = field(default_factory=Thresholds)
    scales: tuple[tuple[float, int], tuple[float, int]] = SCALES

    def encoded(self) -> bytes:
        limits, (logits, offsets) = self.limits, self.scales
        numbers = (TYPES[str(self.logits.dtype)], *self.size, limits.max_detections, limits.max_candidates)
        head = HEADER.pack(*numbers, logits[1], offsets[1], logits[0], offsets[0], 0, *self._thresholds())
        return head + self.logits.tobytes() + self.offsets.tobytes()

    def _thresholds(self) -> tuple[float, float]:
        return self.limits.score_threshold, self.limits.iou_threshold

    def expected(self, spec: ModelSpec):
        real = [_real(*each) for each in zip((self.logits, self.offsets), self.scales, strict=True)]
        with np.errstate(all="ignore"):
            return postprocess(RawOutputs(real[0][None], real[1][None]), spec, self.size, self.limits)


def _real(values: np.ndarray, scale: tuple[float, int]) -> np.ndarray:
    if values.dtype == np.float32:
        return values
    return (values.astype(np.int32) - np.int32(scale[1])).astype(np.float32) * np.float32(scale[0])


def random_spec(rng: np.random.Generator, number: int = 0) -> ModelSpec:
    """A spec of a random kind; every fourth has the priors of a published network."""
    kinds = [
        lambda: tensorflow_priors([(side, side) for side in (5, 3, 2, 1)]),
        lambda: paper_priors([(6, 6), (3, 3), (1, 1)], [[2.0], [2.0, 3.0], [2.0]], clip=bool(rng.integers(2))),
        lambda: msgspec.structs.replace(caffe_priors(clip=True), levels=caffe_priors().levels[2:]),
    ]
    priors = kinds[number // 4 % 3]() if number % 4 == 0 else _random_priors(rng)
    priors = msgspec.structs.replace(priors, exclude_boundary=bool(rng.random() < 0.3))
    return ModelSpec(
        name="random",
        input=InputSpec(
            width=int(rng.integers(1, 700)),
            height=int(rng.integers(1, 700)),
            resize=str(rng.choice(["stretch", "letterbox"])),
        ),
        classes=tuple(f"class {n}" for n in range(rng.choice([1, 2, 3, 20, 80]))),
        priors=priors,
        coder=CoderSpec(
            center_variance=float(rng.choice([0.1, 0.125, 1.0])), size_variance=float(rng.choice([0.2, 1]))
        ),
        scores="sigmoid" if rng.random() < 0.5 else "softmax",
    )


def _random_priors(rng: np.random.Generator):
    maps = [tuple(map(int, rng.integers(1, 7, 2))) for _ in range(rng.integers(1, 4))]
    boxes = [rng.uniform(0.01, 1.2, (rng.integers(1, 7), 2)).tolist() for _ in maps]
    return explicit_priors(maps, boxes, clip=bool(rng.integers(2)))


def random_case(spec: ModelSpec, rng: np.random.Generator) -> Case:
    """Outputs of a random kind: with few or many candidates, ties, extreme numbers, or integers."""
    priors, columns = spec.priors.count, spec.num_logits
    logits = rng.normal(rng.choice([-4, -1, 0]), rng.choice([0.5, 2, 5]), (priors, columns)).astype(np.float32)
    offsets = rng.normal(0, rng.choice([0.5, 2, 10]), (priors, 4)).astype(np.float32)
    kind = rng.choice(["plain", "ties", "equal boxes", "saturated", "int8", "uint8", "int16"])
    if kind == "ties":
        logits = np.round(logits)
    elif kind == "equal boxes":
        offsets = np.round(offsets * 0.3)
    elif kind == "saturated":
        logits = logits * np.float32(10)
    elif kind != "plain":
        logits, offsets = (_integers(each, *scale, kind) for each, scale in zip((logits, offsets), SCALES, strict=True))
    return Case(logits, offsets, tuple(map(int, rng.integers(1, 2000, 2))), _random_limits(rng))


def _integers(values: np.ndarray, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    range_of = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero_point, range_of.min, range_of.max).astype(dtype)


def _random_limits(rng: np.random.Generator) -> Thresholds:
    return Thresholds(
        score_threshold=float(rng.choice([0.0, 0.01, 0.05, 0.3, 0.5, 0.9, 1.0, rng.random()])),
        iou_threshold=float(rng.choice([0.0, 0.3, 0.45, 0.6, 1.0, rng.random()])),
        max_detections=int(rng.choice([1, 10, 100, 200])),
        max_candidates=int(rng.choice([1, 5, 100, 400])),
    )


def facts(dtype: str = "float32") -> list[TensorFact]:
    """What a file would say of its outputs."""
    return [
        TensorFact(name, None, dtype, *((None, 0) if dtype == "float32" else scale))
        for name, scale in zip(("logits", "offsets"), SCALES, strict=True)
    ]


def c_program(
    folder: Path, spec: ModelSpec, *, compiler: str = "gcc", options: tuple[str, ...] = ("-O2",), main: str = "cases.c"
) -> Path:
    """Write the C code of a spec into the new folder, compile it with a main, and return the program."""
    folder.mkdir()
    for name in code.C_FILES:
        (folder / name).write_bytes((code.HERE / "c" / name).read_bytes())
    (folder / "edgessd_model.h").write_text(code.c_tables(spec, facts()), encoding="utf-8")
    sources = [folder / "edgessd.c", HERE / main if main == "cases.c" else folder / main]
    command = [compiler, *STRICT, *options, f"-I{folder}", "-o", folder / "program", *sources, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def java_program(folder: Path, spec: ModelSpec) -> list[str]:
    """Write the Java code of a spec, of int8 outputs, compile it with Cases.java, and return the command to run it."""
    source = folder / "java" / "edgessd"
    source.mkdir(parents=True)
    for name in code.JAVA_FILES:
        (source / name).write_bytes((code.HERE / "android" / name).read_bytes())
    (source / "SsdModel.java").write_text(code.java_tables(spec, facts("int8")), encoding="utf-8")
    return compile_java(folder, [HERE / "Cases.java"])


def compile_java(folder: Path, more: list[Path]) -> list[str]:
    files = [*sorted((folder / "java" / "edgessd").glob("*.java")), *more]
    command = ["javac", "-Xlint:all,-options", "-Werror", "--release", "8", "-d", folder / "classes", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", str(folder / "classes")]


def answers(command: list[str | Path], cases: list[Case]) -> list[np.ndarray]:
    """Run a program on cases; return [N, 6] (label, score, x1, y1, x2, y2) for each."""
    done = subprocess.run(command, input=b"".join(case.encoded() for case in cases), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    found, data, at = [], done.stdout, 0
    for _ in cases:
        (count,) = struct.unpack_from("<i", data, at)
        assert count >= 0
        rows = np.frombuffer(data, [("label", "<i4"), ("rest", "<f4", 5)], count, at + 4)
        found.append(np.column_stack([rows["label"].astype(np.float64), rows["rest"].astype(np.float64)]))
        at += 4 + 24 * count
    assert at == len(data)
    return found


def differences(spec: ModelSpec, cases: list[Case], found: list[np.ndarray]) -> tuple[list[int], int, float, float]:
    """Hold answers against ops.postprocess.

    Return the cases with another order or other labels, the number of detections, and the largest differences of boxes,
    in pixels, and scores.
    """
    wrong, total, boxes, scores = [], 0, 0.0, 0.0
    for number, (case, mine) in enumerate(zip(cases, found, strict=True)):
        known = case.expected(spec)
        total += len(known.labels)
        if not np.array_equal(known.labels, mine[:, 0]):
            wrong.append(number)
        elif len(mine):
            boxes = max(boxes, float(np.abs(known.boxes - mine[:, 2:]).max()))
            scores = max(scores, float(np.abs(known.scores - mine[:, 1]).max()))
    return wrong, total, boxes, scores


def hostile_cases(spec: ModelSpec, rng: np.random.Generator, count: int) -> list[Case]:
    """Outputs with NaN, infinities and the largest numbers, all over or here and there, and pictures of any size."""
    bad = np.array([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45], np.float32)
    cases = []
    for _ in range(count):
        case = random_case(spec, rng)
        case.logits, case.offsets = (each.astype(np.float32) for each in (case.logits, case.offsets))
        for values in (case.logits, case.offsets):
            where = rng.random(values.shape) < rng.choice([0.01, 0.3, 1.0])
            values[where] = rng.choice(bad[: rng.integers(1, 7)], int(where.sum()))
        case.size = tuple(map(int, rng.choice([1, 2, 300, 65_535, 2**31 - 1], 2)))
        cases.append(case)
    return cases

"""The line from a picture to detections, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgessd.classes.class_map import class_labels
from edgessd.errors import EdgeSSDError, OptionError
from edgessd.io.address import source_name
from edgessd.io.images import load_image
from edgessd.io.sources import expand
from edgessd.io.video import VideoFile, VideoInfo, is_video
from edgessd.model_file.foreign import Labels
from edgessd.model_file.read import read_spec_json
from edgessd.ops.postprocess import postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.results import Detections
from edgessd.runtimes import Runtime, load_runtime
from edgessd.spec import ModelSpec, Thresholds
from edgessd.zoo import resolve_model

__all__ = ["Detector", "Frame", "Runtime", "detect"]


class Frame(NamedTuple):
    """One picture of a stream, or one frame of a video.

    source: the path, or the address as it may be shown: without login and secrets. number: of the frame in its video,
    from 0. image: uint8 [H, W, 3], BGR. time: seconds since the video's first frame, by the clock of the video;
    video: what that says about itself. Both are None for a picture.
    """

    source: str
    number: int
    image: NDArray[np.uint8]
    detections: Detections
    time: float | None = None
    video: VideoInfo | None = None


class Detector:
    """Finds objects in pictures: preprocess, `Runtime.run`, postprocess, all from the model's own spec.

    Several threads may share one detector; where the runtime is not thread-safe they take turns.

    >>> detector = Detector.load(score_threshold=0.5)
    >>> detector("photo.jpg").names
    ('cat',)
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        classes: Iterable[str] | None = None,
    ) -> None:
        """Wrap a runtime. Thresholds default to the model's own; `classes` limits what is looked for.

        A model file of level `nms` has thresholds baked in: a higher score_threshold and fewer detections
        are possible, anything else raises OptionError.
        """
        self.runtime = runtime
        self.thresholds = _thresholds(
            runtime.spec.defaults,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
        _check_baked_in(runtime.spec, self.thresholds)
        self._labels = None if classes is None else class_labels(classes, runtime.spec.classes)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        runtime: str | None = None,
        threads: int | None = None,
        *,
        spec: ModelSpec | str | Path | None = None,
        providers: Sequence[str] | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        classes: Iterable[str] | None = None,
        labels: Labels | None = None,
    ) -> Detector:
        """Load a bundled model by name, or a model file by path; None is the default bundled model.

        spec: for a file that carries none: a ModelSpec, or the path of its JSON. labels: class names for
        another tool's TFLite detector: a sequence, a text file with one name a line, or `coco90`. See
        `load_runtime` for runtime, threads and providers, and the constructor for the rest.
        """
        if spec is not None and not isinstance(spec, ModelSpec):
            spec = read_spec_json(spec)
        engine = load_runtime(
            resolve_model(model, runtime),
            runtime=runtime,
            spec=spec,
            threads=threads,
            providers=providers,
            labels=labels,
        )
        return cls(
            engine,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            classes=classes,
        )

    @property
    def spec(self) -> ModelSpec:
        """The description of the loaded model."""
        return self.runtime.spec

    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...]) -> list[Detections]: ...
    @overload
    def __call__(self, image: Any) -> Detections: ...

    def __call__(self, image: Any) -> Detections | list[Detections]:
        """Detect in one picture (anything `load_image` takes), or in each of a list of them."""
        if isinstance(image, (list, tuple)):
            return [self._one(each) for each in image]
        return self._one(image)

    def _one(self, image: Any, read_seconds: float = 0.0) -> Detections:
        started = time.perf_counter() - read_seconds
        pixels = load_image(image)
        loaded = time.perf_counter()
        tensor = preprocess(pixels, self.spec.input)
        prepared = time.perf_counter()
        outputs = self.runtime.run(tensor[None])
        done = time.perf_counter()
        size = (pixels.shape[1], pixels.shape[0])
        found = postprocess(outputs, self.spec, size, self.thresholds, self._labels)
        ended = time.perf_counter()
        timings = {
            "read": _milliseconds(loaded - started),
            "preprocess": _milliseconds(prepared - loaded),
            "run": _milliseconds(done - prepared),
            "postprocess": _milliseconds(ended - done),
        }
        return Detections(
            found.boxes, found.scores, found.labels, self.spec.classes, size, timings, self.spec.category_ids
        )

    def stream(self, source: Any, failures: list[EdgeSSDError] | None = None) -> Iterator[Frame]:
        """Detect in a file, URL, folder, glob or video, or a list of them, one picture after the other.

        failures: where given, a picture that cannot be read is added to it and the stream goes on;
        otherwise its error is raised.
        """
        for item in expand(source):
            try:
                if is_video(item):
                    with VideoFile(item) as video:
                        for number, (image, seconds) in enumerate(video):
                            yield Frame(source_name(item), number, image, self._one(image), seconds, video.info)
                else:
                    started = time.perf_counter()
                    image = load_image(item)
                    elapsed = time.perf_counter() - started
                    yield Frame(source_name(item), 0, image, self._one(image, elapsed))
            except EdgeSSDError as error:
                if failures is None:
                    raise
                failures.append(error)

    def close(self) -> None:
        """Free the engine."""
        self.runtime.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def detect(image: Any, model: str | Path | None = None, **options: Any) -> Any:
    """Detect objects in one picture, or in each of a list of them; a loaded model is kept for the next call.

    image: path, URL, bytes, array or PIL picture. model, options: as for `Detector.load`.
    Returns `Detections`, or a list of them for a list.
    """
    return _cached_detector(model, options)(image)


_cache: dict[str, Detector] = {}
_cache_lock = threading.Lock()


def _cached_detector(model: str | Path | None, options: dict[str, Any]) -> Detector:
    key = repr((str(model), sorted(options.items())))
    with _cache_lock:
        if key not in _cache:
            while len(_cache) >= 4:  # a program that tries many models should not keep them all in memory
                _cache.pop(next(iter(_cache)))
            _cache[key] = Detector.load(model, **options)
        return _cache[key]


def _milliseconds(seconds: float) -> float:
    """To the microsecond: the clock tells no more."""
    return round(seconds * 1e3, 3)


def _thresholds(defaults: Thresholds, **given: float | None) -> Thresholds:
    values = {**msgspec.structs.asdict(defaults), **{k: v for k, v in given.items() if v is not None}}
    try:
        return msgspec.convert(values, Thresholds)
    except msgspec.ValidationError as error:
        name = next((k for k in values if f"$.{k}" in str(error)), "threshold")
        raise OptionError(f"{name} {values.get(name)}: {error}") from None


def _check_baked_in(spec: ModelSpec, limits: Thresholds) -> None:
    """Refuse thresholds that a graph with the suppression inside cannot follow any more."""
    if spec.output.level != "nms":
        return
    baked = spec.defaults
    possible = {
        "score_threshold": limits.score_threshold >= baked.score_threshold - 1e-9,
        "iou_threshold": abs(limits.iou_threshold - baked.iou_threshold) < 1e-6,
        "max_detections": limits.max_detections <= baked.max_detections,
    }
    for name, fine in possible.items():
        if not fine:
            raise OptionError(
                f"{name} {getattr(limits, name):g} is not possible: the file has {getattr(baked, name):g} baked in "
                "(level nms); leave it out, or export the model at level raw or decoded"
            )

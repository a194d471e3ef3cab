"""The line from a picture to detections, and nothing else."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypedDict, Unpack, overload

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from edgessd.classes.class_map import class_labels
from edgessd.errors import DependencyError, EdgeSSDError, InputError
from edgessd.io.address import source_name
from edgessd.io.images import load_image
from edgessd.io.sources import expand
from edgessd.io.video import VideoFile, VideoInfo, is_video
from edgessd.model_file.foreign import Labels
from edgessd.model_file.read import read_spec_json
from edgessd.ops.outputs import Outputs
from edgessd.ops.postprocess import postprocess
from edgessd.ops.preprocess import preprocess
from edgessd.ops.thresholds import changed
from edgessd.results import Detections
from edgessd.runtimes import Runtime, load_runtime
from edgessd.runtimes.cache import RuntimeCache
from edgessd.runtimes.threads import default_threads
from edgessd.spec import ModelSpec
from edgessd.zoo import resolve_model

__all__ = ["Detector", "Frame", "Runtime", "default_threads", "detect"]

MOST_PICTURES, MOST_BYTES = 8, 16 * 2**20
"""Limits of a batch that a list is cut into: so many pictures, and their input tensor of so many bytes."""


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


class _Prepared(NamedTuple):
    """One picture before its run. size: (width, height) in pixels; seconds: of each stage."""

    tensor: NDArray[Any]
    size: tuple[int, int]
    seconds: dict[str, float]


class Detector:
    """Finds objects in pictures: preprocess, `Runtime.run`, postprocess, all from the model's own spec.

    Several threads may share one detector, and several detectors one runtime (`with_options`): where its engine takes
    one thread at a time they take turns. In a child of `os.fork` the model must be loaded anew.

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
        classes: str | Iterable[str] | None = None,
    ) -> None:
        """Wrap a runtime. Thresholds default to the model's own; `classes` limits what is looked for.

        score_threshold: 0..1; what is found has a score above it. iou_threshold: 0..1; of two boxes of a class that
        overlap more, the weaker goes. max_detections: most objects of one picture. classes: names, at least one; None
        is all of them. numpy's scalars, strings and arrays are taken, too.

        A model file of level `nms` has thresholds baked in: a higher score_threshold and fewer detections
        are possible. Raises OptionError for anything else, for values out of range and for unknown names.
        """
        self.runtime = runtime
        self.thresholds = changed(
            runtime.spec,
            runtime.spec.defaults,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
        self._labels = _labels(classes, runtime.spec)

    @classmethod
    def load(
        cls,
        model: str | Path | None = None,
        runtime: str | None = None,
        threads: int | None = None,
        *,
        spec: ModelSpec | str | Path | None = None,
        providers: str | Sequence[str] | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        classes: str | Iterable[str] | None = None,
        labels: Labels | None = None,
    ) -> Self:
        """Load a bundled model by name, or a model file by path; None is the default bundled model.

        spec: for a file that carries none: a ModelSpec, or the path of its JSON. labels: class names for
        another tool's TFLite detector: a sequence, a text file with one name a line, or `coco90`. See
        `load_runtime` for runtime, threads and providers, and the constructor for the rest.

        Raises ModelError for an unknown name and a file that is no model, SpecError for one without a valid
        description, OptionError for options that do not fit, DependencyError where the engine is not installed.
        """
        engine = load_runtime(
            resolve_model(model, runtime),
            runtime=runtime,
            spec=_spec(spec),
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

    def with_options(
        self,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        classes: str | Iterable[str] | UnsetType | None = UNSET,
    ) -> Self:
        """Return another detector over the same runtime; what is left out stays as it is here.

        classes: None is all of the model's. Both may be used at once; closing one closes the runtime of both.
        Raises OptionError as the constructor does.
        """
        other = copy.copy(self)
        other.thresholds = changed(
            self.spec,
            self.thresholds,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
        if not isinstance(classes, UnsetType):
            other._labels = _labels(classes, self.spec)
        return other

    @property
    def spec(self) -> ModelSpec:
        """The description of the loaded model."""
        return self.runtime.spec

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes that are looked for, in the model's order; None for all."""
        return None if self._labels is None else tuple(self.spec.classes[label] for label in self._labels)

    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...]) -> list[Detections]: ...
    @overload
    def __call__(self, image: Any) -> Detections: ...

    def __call__(self, image: Any) -> Detections | list[Detections]:
        """Detect in one picture (anything `load_image` takes), or in each of a list of them.

        A list goes through the engine in batches of up to `MOST_PICTURES` where the file takes them; the detections
        are those of one by one (in torch to about 1e-8 in the scores), and `timings` the picture's share.

        Raises InputError for a picture that cannot be used, EngineError where the engine fails or is closed.
        """
        if not isinstance(image, (list, tuple)):
            return self._detect([image])[0]
        size = self._batch_size()
        return [found for start in range(0, len(image), size) for found in self._detect(image[start : start + size])]

    def _batch_size(self) -> int:
        if self.runtime.fixed_batch is not None:
            return 1
        tensor = self.spec.input
        size = math.prod(tensor.tensor_shape) * np.dtype(tensor.dtype).itemsize
        return max(1, min(MOST_PICTURES, MOST_BYTES // size))

    def _detect(self, images: Sequence[Any], read_seconds: float = 0.0) -> list[Detections]:
        prepared = [self._prepare(image, read_seconds) for image in images]
        started = time.perf_counter()
        tensors = [each.tensor[None] for each in prepared]
        outputs = self.runtime.run(tensors[0] if len(tensors) == 1 else np.concatenate(tensors))
        share = (time.perf_counter() - started) / len(images)
        return [self._finish(outputs, number, each, share) for number, each in enumerate(prepared)]

    def _prepare(self, image: Any, read_seconds: float) -> _Prepared:
        started = time.perf_counter() - read_seconds
        pixels = load_image(image)
        loaded = time.perf_counter()
        tensor = preprocess(pixels, self.spec.input)
        seconds = {"read": loaded - started, "preprocess": time.perf_counter() - loaded}
        return _Prepared(tensor, (pixels.shape[1], pixels.shape[0]), seconds)

    def _finish(self, outputs: Outputs, number: int, picture: _Prepared, run: float) -> Detections:
        started = time.perf_counter()
        found = postprocess(outputs, self.spec, picture.size, self.thresholds, self._labels, picture=number)
        seconds = {**picture.seconds, "run": run, "postprocess": time.perf_counter() - started}
        return Detections(
            found.boxes,
            found.scores,
            found.labels,
            self.spec.classes,
            picture.size,
            {stage: round(value * 1e3, 3) for stage, value in seconds.items()},  # the clock tells no more
            self.spec.category_ids,
        )

    def stream(self, source: Any, failures: list[EdgeSSDError] | None = None) -> Iterator[Frame]:
        """Detect in a file, URL, folder, glob or video, or a list of them, one picture after the other.

        failures: where given, a source that is not there or holds no picture, and a picture that cannot be read, are
        added to it and the stream goes on; otherwise their error (InputError) is raised.

        Raises EngineError where the engine fails, whether `failures` is given or not: so would every other picture.
        """
        for item in expand(source, failures):
            try:
                yield from self._frames(item)
            except (InputError, DependencyError) as error:
                if failures is None:
                    raise
                failures.append(error)

    def _frames(self, item: str | Path) -> Iterator[Frame]:
        if is_video(item):
            with VideoFile(item) as video:
                for number, (image, seconds) in enumerate(video):
                    yield Frame(source_name(item), number, image, self._detect([image])[0], seconds, video.info)
        else:
            started = time.perf_counter()
            image = load_image(item)
            elapsed = time.perf_counter() - started
            yield Frame(source_name(item), 0, image, self._detect([image], elapsed)[0])

    def close(self) -> None:
        """Free the engine, also for other detectors over the same runtime; a second call does nothing.

        Detecting afterwards raises EngineError.
        """
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Options(TypedDict, total=False):
    """Keywords of `detect`, for its two signatures."""

    spec: ModelSpec | str | Path | None
    providers: str | Sequence[str] | None
    score_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    classes: str | Iterable[str] | None
    labels: Labels | None


_Model = str | Path | None
_runtimes = RuntimeCache()


@overload
def detect(
    image: list[Any] | tuple[Any, ...],
    model: _Model = None,
    runtime: str | None = None,
    threads: int | None = None,
    **options: Unpack[_Options],
) -> list[Detections]: ...
@overload
def detect(
    image: Any,
    model: _Model = None,
    runtime: str | None = None,
    threads: int | None = None,
    **options: Unpack[_Options],
) -> Detections: ...


def detect(
    image: Any,
    model: str | Path | None = None,
    runtime: str | None = None,
    threads: int | None = None,
    *,
    spec: ModelSpec | str | Path | None = None,
    providers: str | Sequence[str] | None = None,
    score_threshold: float | None = None,
    iou_threshold: float | None = None,
    max_detections: int | None = None,
    classes: str | Iterable[str] | None = None,
    labels: Labels | None = None,
) -> Detections | list[Detections]:
    """Detect objects in one picture, or in each of a list of them; a loaded model is kept for the next calls.

    image: path, URL, bytes, array or PIL picture. The rest: as for `Detector.load`. The models that were used last
    stay loaded, see `RuntimeCache`; a file that has changed is loaded anew, other thresholds or classes load nothing.

    Returns `Detections`, or a list of them for a list. Raises what `Detector.load` and calling a `Detector` raise.
    """
    engine = _runtimes.get(resolve_model(model, runtime), runtime, threads, _spec(spec), providers, labels)
    detector = Detector(
        engine,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        classes=classes,
    )
    found: Detections | list[Detections] = detector(image)
    return found


def _spec(given: ModelSpec | str | Path | None) -> ModelSpec | None:
    return given if given is None or isinstance(given, ModelSpec) else read_spec_json(given)


def _labels(classes: str | Iterable[str] | None, spec: ModelSpec) -> NDArray[np.int64] | None:
    return None if classes is None else class_labels(classes, spec.classes)

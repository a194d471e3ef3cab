"""The detector that runs now, and changing it while frames go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgessd.apps.camera.models import RUNTIMES
from edgessd.classes.class_map import ClassMap
from edgessd.detector import Detector
from edgessd.errors import EdgeSSDError, OptionError, printable
from edgessd.io.images import Image
from edgessd.results import Detections


@dataclass(frozen=True)
class EngineInfo:
    """What runs now. classes: all that the model knows; chosen: those looked for, None for all."""

    model: str
    title: str
    precision: str
    runtime: str
    threads: int | None
    score_threshold: float
    classes: tuple[str, ...]
    chosen: tuple[str, ...] | None


class Engine:
    """A detector whose threshold, classes, model and runtime can be changed by any thread at any time.

    load: (model, runtime or None) to a new detector. models: name to file, what can be chosen from; nothing else
    can be loaded. model: the name that runs first. A change of model or runtime loads in the background; frames go
    on with the old one until then. runtimes: those that can load a file of `models`, by `models.RUNTIMES`.
    """

    def __init__(
        self,
        load: Callable[[str, str | None], Detector],
        models: Mapping[str, str],
        model: str,
        *,
        runtime: str | None = None,
        threads: int | None = None,
        classes: Iterable[str] | None = None,
        runtimes: Callable[[str], Sequence[str]] = lambda _: RUNTIMES,
        say: Callable[[str], None] = print,
    ) -> None:
        self.models = dict(models)
        self._load, self._threads, self.say = load, threads, say
        self._runtimes = runtimes
        self._lock = threading.Lock()  # one detection at a time, and none while the detector is changed
        self._switch: threading.Thread | None = None
        self._model = model
        self._chosen = tuple(classes) if classes is not None else None
        self._detector = load(self.models[model], runtime)

    @property
    def info(self) -> EngineInfo:
        """What runs now."""
        detector, spec = self._detector, self._detector.spec
        return EngineInfo(
            model=self._model,
            title=spec.name,
            precision="int8" if spec.quantization is not None else spec.precision,
            runtime=detector.runtime.name,
            threads=self._threads,
            score_threshold=detector.thresholds.score_threshold,
            classes=spec.classes,
            chosen=detector.classes,
        )

    @property
    def changing(self) -> bool:
        """Whether another model or runtime is being loaded."""
        return self._switch is not None and self._switch.is_alive()

    def detect(self, image: Image) -> Detections:
        """Detect in one picture, uint8 [H, W, 3] BGR."""
        with self._lock:
            return self._detector(image)

    def set_threshold(self, threshold: float) -> None:
        """Show detections of at least this score, 0..1. Raises OptionError where the model cannot."""
        self._rebuild(round(min(max(threshold, 0.0), 1.0), 4), self._chosen)

    def set_classes(self, classes: Iterable[str] | None) -> None:
        """Look for these classes only, or for all. Raises OptionError for a name that the model does not have."""
        self._rebuild(None, tuple(classes) if classes is not None else None)

    def _rebuild(self, threshold: float | None, chosen: tuple[str, ...] | None) -> None:
        with self._lock:
            self._detector = self._detector.with_options(score_threshold=threshold, classes=chosen)
            self._chosen = chosen

    def runtimes(self, model: str | None = None) -> Sequence[str]:
        """Return the runtimes that can load one of `models`; None: the one that runs now."""
        return self._runtimes(self.models[model or self._model])

    def next_model(self) -> None:
        """Load the next of the models."""
        names = list(self.models)
        if len(names) < 2:
            raise OptionError("there is no other model: give a folder of them with --models DIR")
        self.choose(model=names[(names.index(self._model) + 1) % len(names)])

    def next_runtime(self) -> None:
        """Load the same model into the next runtime that takes it and is installed."""
        now = self._detector.runtime.name
        place = next((i for i, name in enumerate(RUNTIMES) if now.startswith((name, f"ai_edge_{name}"))), 0)
        others = [RUNTIMES[(place + step) % len(RUNTIMES)] for step in range(1, len(RUNTIMES))]
        fitting = [runtime for runtime in others if runtime in self.runtimes()]
        if not fitting:
            raise OptionError("no other runtime that is installed loads this model")
        self._start(self._model, fitting)

    def choose(self, model: str | None = None, runtime: str | None = None) -> None:
        """Load one of `models`, or the same into this runtime. Raises OptionError for what cannot be chosen."""
        if model is not None and model not in self.models:
            raise OptionError("no such model: choose one of the list")
        if runtime is not None and runtime not in (fitting := self.runtimes(model)):
            raise OptionError(
                f"{model or self._model} does not run in {printable(runtime, 20)} here: use {', '.join(fitting)}"
            )
        # A runtime that was asked for stays with its model; another kind of file needs its own.
        self._start(model or self._model, [runtime])

    def _start(self, model: str, runtimes: list[str | None] | list[str]) -> None:
        if self.changing:
            raise OptionError("another model is being loaded: wait for it")
        self._switch = threading.Thread(
            target=self._change, args=(model, list(runtimes)), name="edgessd-load", daemon=True
        )
        self._switch.start()

    def _change(self, model: str, runtimes: list[str | None]) -> None:
        problems = []
        for runtime in runtimes:
            try:
                new = self._load(self.models[model], runtime)
            except EdgeSSDError as error:
                problems.append(str(error))
                continue
            except Exception as error:  # a fault of an engine must not take the running one with it
                problems.append(f"{runtime or model}: {error}")
                continue
            self._replace(new, model)
            return
        self.say(problems[0] if len(problems) == 1 else "no other runtime that is installed loads this model")

    def _replace(self, new: Detector, model: str) -> None:
        with self._lock:
            old, chosen = self._detector, self._chosen
            if chosen is not None:
                chosen = tuple(name for _, name in ClassMap(chosen, new.spec.classes).pairs) or None
            try:
                new = new.with_options(score_threshold=old.thresholds.score_threshold, classes=chosen)
            except OptionError:  # a threshold that is baked in
                new = new.with_options(classes=chosen)
            self._detector, self._model, self._chosen = new, model, chosen
            old.close()
        self.say(f"{new.spec.name} in {new.runtime.name}")

    def close(self) -> None:
        """Free the engine."""
        if self._switch is not None:
            self._switch.join(30.0)
        with self._lock:
            self._detector.close()

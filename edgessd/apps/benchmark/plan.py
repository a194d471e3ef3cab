"""Which combinations are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgessd.apps.benchmark.loading import labels_for
from edgessd.apps.benchmark.peers import YOLOX
from edgessd.apps.benchmark.records import Task
from edgessd.errors import ModelError, OptionError, did_you_mean, printable
from edgessd.model_file import read_spec, runtimes_for
from edgessd.zoo import resolve_model

# What each runtime can run on beside the processor; rows of what a machine lacks say "not present".
GPUS = {"onnx": ("cuda", "tensorrt"), "openvino": ("gpu",), "torch": ("cuda", "cuda-fp16"), "litert": ()}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asks for: the axes of the table.

    models: files or bundled names, or `yolox:FILE` for an ONNX file of YOLOX. runtimes: `all`, `cpu` (all on the
    processor), or engines such as `onnx`, `onnx:cuda`. precisions: only models of these; empty: all. threads: None
    leaves the number to the engine.
    """

    models: tuple[str, ...]
    runtimes: tuple[str, ...] = ("all",)
    precisions: tuple[str, ...] = ()
    threads: tuple[int | None, ...] = (None,)
    batches: tuple[int, ...] = (1,)


def plan(wanted: Wanted, common: Task) -> list[Task]:
    """Return the tasks of all combinations; with `common.data`, those of accuracy first.

    common: what all tasks share (pictures, runs, data). A model that cannot be read gets a task, too, whose row
    will say why. Raises OptionError for an unknown runtime, and where no combination is left.
    """
    speed: list[Task] = []
    for model in wanted.models:
        for runtime, provider in dict.fromkeys(_engines(model, wanted, common.labels)):
            on_processor = provider in ("", "cpu")
            for threads in wanted.threads if on_processor else (None,):  # a GPU does not ask for threads
                for batch in wanted.batches:
                    speed.append(
                        msgspec.structs.replace(
                            common,
                            kind="speed",
                            model=model,
                            runtime=runtime,
                            provider=provider,
                            threads=threads,
                            batch=batch,
                        )
                    )
    if not speed:
        raise OptionError(
            "no combination is left: no model has one of these precisions and runs in one of these runtimes; "
            "`edgessd info MODEL` shows its precision"
        )
    accuracy: dict[tuple[str, str], Task] = {}
    for task in speed:
        if common.data:
            best = max((threads for threads in wanted.threads if threads), default=None)
            accuracy[task.model, task.engine] = msgspec.structs.replace(
                task, kind="accuracy", batch=1, threads=best if task.threads else None
            )
    return [*accuracy.values(), *speed]


def _engines(model: str, wanted: Wanted, labels: str) -> Iterator[tuple[str, str]]:
    """Runtime and provider of each engine that is asked for and can load this model."""
    asked = [_parse(each) for each in wanted.runtimes]
    if model.startswith(YOLOX):
        if not Path(model.removeprefix(YOLOX)).is_file():
            raise ModelError(f"no model file {printable(model.removeprefix(YOLOX))}")
        yield from (("onnx", provider or "cpu") for name, provider in asked if name in ("all", "cpu", "onnx"))
        return
    path = resolve_model(model)
    try:
        possible = [
            runtime
            for file in model_files(model)
            if _wanted_precision(file, wanted, labels)
            for runtime in runtimes_for(file)
        ]
    except ModelError:
        if not path.is_file():
            raise  # a name that is mistyped is worth an answer before anything is measured
        yield "", ""
        return
    for runtime in possible:
        providers = ["", *GPUS[runtime]]
        for name, provider in asked:
            if name in ("all", "cpu"):
                yield from ((runtime, each) for each in (providers if name == "all" else providers[:1]))
            elif name == runtime:
                yield runtime, provider


def model_files(model: str) -> list[Path]:
    """Return the files behind a model: one, or those of a bundled model, which has one for each kind of runtime."""
    files = dict.fromkeys((resolve_model(model), resolve_model(model, "litert")))
    return [file for number, file in enumerate(files) if not number or file.is_file()]


def _wanted_precision(file: Path, wanted: Wanted, labels: str) -> bool:
    spec = read_spec(file, labels_for(file, labels))
    precision = "int8" if spec.quantization else spec.precision
    return not wanted.precisions or precision in wanted.precisions


def _parse(text: str) -> tuple[str, str]:
    name, _, provider = text.strip().partition(":")
    known: Sequence[str] = ("all", "cpu", *GPUS)
    if name not in known:
        raise OptionError(f"unknown runtime {text!r}{did_you_mean(name, known)}: use {', '.join(known)} or onnx:cuda")
    return name, "" if provider == "cpu" else provider

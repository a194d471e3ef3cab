"""What the user can ask for: the options of the command, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, field

from edgessd.options import Option, shared

Count = Annotated[int, Meta(ge=1)]

_WHAT = "What is measured"
_ACCURACY = "Accuracy"
_LENGTH = "How long"
_RESULTS = "Results"
_DEVICE = "On another device"
_PAPER = "The paper"


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `edgessd benchmark`, by their names there and in a file for `--config`."""

    models: Annotated[
        list[str], Option("Bundled names or files.", panel=_WHAT, metavar="[MODEL]...", argument=True, file="there")
    ] = []
    runtimes: Annotated[
        str, Option("all, cpu (all without GPUs), or engines such as onnx,litert,onnx:cuda.", panel=_WHAT)
    ] = "all"
    threads: Annotated[
        str | None,
        Option(
            "Numbers of threads, such as 1,2,4; 0 is the engine's choice; default 1,2.", panel=_WHAT, metavar="N[,N]"
        ),
    ] = None
    batch: Annotated[
        str | None, Option("Pictures at a time, such as 1,8; default 1.", panel=_WHAT, metavar="N[,N]")
    ] = None
    precision: Annotated[str | None, Option("Only models of these: fp32, fp16, int8.", panel=_WHAT)] = None
    images: Annotated[
        str | None, Option("Folder of pictures; default: the bundled photos.", panel=_WHAT, file="there")
    ] = None
    labels: Annotated[str | None, shared.LABELS.below(_WHAT)] = None

    data: Annotated[
        str, Option("Labelled set, to measure accuracy as well; as in `evaluate`.", panel=_ACCURACY, file="sum")
    ] = ""
    split: Annotated[str | None, Option("Its split.", panel=_ACCURACY)] = None
    metric: Annotated[str, Option("voc07, voc or coco.", panel=_ACCURACY)] = "coco"
    limit: Annotated[Count | None, Option("Only its first pictures.", panel=_ACCURACY)] = None

    runs: Annotated[Count, Option("Runs of each combination, after the warm-up.", panel=_LENGTH)] = 100
    seconds: Annotated[
        float, Meta(ge=0.1), Option("A combination ends after so long, with 10 runs at least.", panel=_LENGTH)
    ] = 20.0
    timeout: Annotated[
        float, Meta(ge=1), Option("Seconds after which a combination counts as broken.", panel=_LENGTH)
    ] = 600.0

    json_file: Annotated[Path | None, Option("Write everything to this file.", panel=_RESULTS)] = field(
        default=None, name="json"
    )
    csv_file: Annotated[Path | None, Option("Write one line per combination.", panel=_RESULTS)] = field(
        default=None, name="csv"
    )
    markdown: Annotated[Path | None, Option("Write the table as Markdown.", panel=_RESULTS)] = None
    plot: Annotated[
        Path | None, Option("Draw accuracy against time (PNG); without data, the stages.", panel=_RESULTS)
    ] = None
    compare: Annotated[Path | None, Option("An older --json: print what changed.", panel=_RESULTS)] = None

    device: Annotated[
        str | None, Option("Measure there, too: ssh://user@host[:port], adb, or adb:SERIAL.", panel=_DEVICE)
    ] = None
    wheels: Annotated[
        Path | None,
        Option("With ssh: wheels to install from, without network.", panel=_DEVICE, metavar="DIR"),
    ] = None
    ssh_config: Annotated[Path | None, Option("With ssh: a file instead of ~/.ssh/config.", panel=_DEVICE)] = None
    benchmark_model: Annotated[Path | None, Option("With adb: LiteRT's program.", panel=_DEVICE)] = None

    preset: Annotated[str | None, Option("paper: the SSD paper's table, here and as published.", panel=_PAPER)] = None
    yolox: Annotated[str | None, Option("With --preset paper: an ONNX file of YOLOX.", panel=_PAPER, file="always")] = (
        None
    )

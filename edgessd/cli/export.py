"""`edgessd export`: a checkpoint as a file for a device, checked before the command says done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from edgessd.errors import OptionError, missing_extra
from edgessd.io.targets import keep_sources


def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint (.safetensors) of train, quantize or qat.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    format: Annotated[str | None, typer.Option(help="onnx, tflite or openvino; default: by the file's suffix.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or int8; default: what the checkpoint is.")] = None,
    level: Annotated[
        str | None, typer.Option(help="raw (for edgessd; the default), decoded, or nms (final detections).")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Of the outputs: standard, detections7 (Frigate), opencv, or jetson (jetson-inference).")
    ] = "standard",
    tensor: Annotated[
        str | None, typer.Option("--input", help="float32, uint8 or int8; int8 files take bytes.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Pictures at a time: dynamic, or a number.")] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX operator set, 18 to 23.")] = None,
    images: Annotated[str | None, typer.Option(help="Pictures to compare on; default: the bundled photos.")] = None,
    max_rms: Annotated[float | None, typer.Option(help="Largest relative RMS of the outputs that passes.")] = None,
    min_agreement: Annotated[float | None, typer.Option(help="Least share of equal detections, 0..1.")] = None,
    verify_data: Annotated[str | None, typer.Option(help="Labelled set to measure the file's accuracy on.")] = None,
    verify_split: Annotated[str | None, typer.Option(help="Its split.")] = None,
    verify_metric: Annotated[str, typer.Option(help="voc07, voc or coco.")] = "voc",
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Write the file without comparing it.")] = False,
) -> None:
    """Write a checkpoint as a file that describes itself, and compare it with the checkpoint on real pictures."""
    console = Console()
    size: int | Literal["dynamic"] | None = None
    if batch is not None:
        if batch != "dynamic" and not batch.isdigit():
            raise OptionError(f"batch is 'dynamic' or a number, not {batch!r}")
        size = "dynamic" if batch == "dynamic" else int(batch)
    for name, value in (("--max-rms", max_rms), ("--min-agreement", min_agreement)):
        if value is not None and not 0 <= value <= 10:
            raise OptionError(f"{name} is a share, not {value}")
    keep_sources([output], [checkpoint])
    try:
        from edgessd.export.checked import export_checked
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "export") from None
    started = time.perf_counter()
    with console.status("exporting", spinner="dots") as status:
        report = export_checked(
            checkpoint,
            output,
            say=lambda step: status.update(step),
            format=format,
            precision=precision,
            level=level,
            layout=layout,
            tensor=tensor,
            batch=size,
            opset=opset,
            images=images,
            max_rms=max_rms,
            min_agreement=min_agreement,
            data=verify_data,
            split=verify_split,
            metric=verify_metric,
            compare=not no_verify,
        )
    for line in report.lines() if report is not None else ():
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print(
        f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB) in {time.perf_counter() - started:.0f} s"
        f"{'' if report is None else f', report in {output}.verify.json'}; try: edgessd detect PHOTO --model {output}",
        highlight=False,
        soft_wrap=True,
    )

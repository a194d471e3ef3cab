"""`edgessd export`: a checkpoint as a file for a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edgessd.errors import OptionError, missing_extra


def export(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint of a training (.safetensors).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    batch: Annotated[str, typer.Option(help="Pictures at a time: dynamic, or a number.")] = "dynamic",
    opset: Annotated[int, typer.Option(help="ONNX operator set, 18 to 23.", min=18, max=23)] = 18,
) -> None:
    """Write a checkpoint as an ONNX file, float32, that describes itself."""
    size: int | Literal["dynamic"] = "dynamic"
    if batch != "dynamic":
        if not batch.isdigit():
            raise OptionError(f"batch is 'dynamic' or a number, not {batch!r}")
        size = int(batch)
    try:
        from edgessd.export.onnx import export_onnx
        from edgessd.models.checkpoint import load_checkpoint
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "export") from None
    model, spec = load_checkpoint(checkpoint)
    export_onnx(model, spec, output, opset=opset, batch=size)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB); try: edgessd detect PHOTO --model {output}")

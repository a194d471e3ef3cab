"""Decode and suppression as source code: one C99 file for a microcontroller, one Java class for an Android app.

The algorithms stand in c/ and android/, the same for every model; what is written here are the tables of its spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import edgessd
from edgessd.apps.bundle import texts
from edgessd.apps.bundle.literals import boolean, c_text, double, java_text, single
from edgessd.errors import ModelError, OptionError, printable
from edgessd.io.files import copy_part, write_part
from edgessd.io.folders import check_new, new_folder
from edgessd.model_file import TensorFact, read_outputs, runtimes_for
from edgessd.ops.preprocess import value_table
from edgessd.spec import InputSpec, ModelSpec
from edgessd.zoo import resolve_model

HERE = Path(__file__).parent
C_FILES = ("edgessd.c", "edgessd.h", "main.c")
JAVA_FILES = ("SsdDecoder.java", "Main.java")
TYPES = ("float32", "int8", "uint8", "int16")
MAX_VALUES = 2**31 - 1
JAVA_STRING = 10_000
"""Characters of one string constant: a class file takes 65,535 bytes."""


def write_c(models: Sequence[str | Path | None], folder: Path) -> list[Path]:
    """Write edgessd.c, its headers, main.c and a README into the new folder `folder`; return the files.

    models: one file of level `raw` that a runtime takes, or a bundled name. The folder is there as a whole or not at
    all. Raises InputError where it exists and is not empty, OptionError and ModelError for models that it cannot be
    made of.
    """
    path, spec, places, outputs = _raw(models, folder)
    with new_folder(folder) as new:
        for name in C_FILES:
            copy_part(HERE / "c" / name, new / name)
        write_part(new / "edgessd_model.h", c_tables(spec, outputs))
        values = _words(path, spec, places, outputs)
        write_part(new / "README.md", texts.C_README.format_map(values))
    return sorted(folder.iterdir())


def write_android(models: Sequence[str | Path | None], folder: Path) -> list[Path]:
    """Write model.tflite and the Java package `edgessd` into the new folder `folder`; return the files.

    models: one TFLite file of level `raw`, or a bundled name, which means its TFLite file. Folder and errors as in
    `write_c`.
    """
    path, spec, places, outputs = _raw(models, folder, runtime="litert")
    with new_folder(folder) as new:
        (new / "assets").mkdir()
        copy_part(path, new / "assets" / "model.tflite")
        source = new / "java" / "edgessd"
        source.mkdir(parents=True)
        for name in JAVA_FILES:
            copy_part(HERE / "android" / name, source / name)
        write_part(source / "SsdModel.java", java_tables(spec, outputs))
        values = _words(path, spec, places, outputs) | _kotlin(spec.input, places, outputs)
        write_part(new / "README.md", texts.ANDROID_README.format_map(values))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _raw(
    models: Sequence[str | Path | None], folder: Path, runtime: str | None = None
) -> tuple[Path, ModelSpec, list[int], list[TensorFact]]:
    """Return the file, its spec, and position and description of logits and offsets."""
    if len(models) != 1:
        raise OptionError(f"the code is of one model, not {len(models)}: give each a folder of its own")
    check_new(folder)
    path = resolve_model(models[0], runtime)
    usual = runtimes_for(path)[0]
    if usual == "torch" or (runtime is not None and usual != runtime):
        wanted = "a TFLite file" if runtime else "an exported file"
        raise ModelError(
            f"{printable(path)} is not {wanted}: export the checkpoint, "
            f"edgessd export CHECKPOINT -o {printable(path.with_suffix('.tflite').name)} --level raw"
        )
    spec, places, outputs = read_outputs(path)
    if spec.output.level != "raw":
        raise ModelError(
            f"{printable(path)} is of level {spec.output.level}, the code begins at level raw: export the checkpoint "
            f"again, edgessd export CHECKPOINT -o {printable(path.name)} --level raw"
        )
    if spec.priors.count * spec.num_logits > MAX_VALUES:
        raise ModelError(f"{printable(path)} has {spec.priors.count * spec.num_logits:,} logits, too many for the code")
    for each in outputs:
        if each.dtype not in TYPES or (each.dtype != "float32" and each.scale is None):
            raise ModelError(f"{printable(path)}: output {printable(each.name)} is {each.dtype} without a scale")
    return path, spec, places, outputs


def c_tables(spec: ModelSpec, outputs: Sequence[TensorFact]) -> str:
    """Return edgessd_model.h: sizes and kinds of outputs for all, and the tables for edgessd.c alone."""
    limits, levels = spec.defaults, spec.priors.levels
    steps = [level.step or (1 / level.columns, 1 / level.rows) for level in levels]
    starts = [sum(len(level.boxes) for level in levels[:number]) for number in range(len(levels))]
    tensors = [
        f"{{0, EDGESSD_{each.dtype.upper()}, {single(1.0 if each.scale is None else each.scale)}, {each.zero_point}}}"
        for each in outputs
    ]
    return texts.C_TABLES.format(
        version=edgessd.__version__,
        name=printable(spec.name).replace("*/", "* /"),
        priors=spec.priors.count,
        classes=len(spec.classes),
        columns=spec.num_logits,
        max_detections=limits.max_detections,
        logits=tensors[0],
        offsets=tensors[1],
        softmax=int(spec.scores == "softmax"),
        clip=int(spec.priors.clip),
        exclude_boundary=int(spec.priors.exclude_boundary),
        letterbox=int(spec.input.resize == "letterbox"),
        width=spec.input.width,
        height=spec.input.height,
        center_variance=double(spec.coder.center_variance),
        size_variance=double(spec.coder.size_variance),
        thresholds=(
            f"{double(limits.score_threshold)}, {double(limits.iou_threshold)}, {limits.max_detections}, "
            f"{limits.max_candidates}"
        ),
        names=_lines(f"{c_text(name)}," for name in spec.classes),
        levels=_lines(
            f"{{{level.count}, {level.columns}, {len(level.boxes)}, {start}, {double(x)}, {double(y)}}},"
            for level, start, (x, y) in zip(levels, starts, steps, strict=True)
        ),
        sizes=_lines(f"{{{double(w)}, {double(h)}}}," for level in levels for w, h in level.boxes),
    )


def java_tables(spec: ModelSpec, outputs: Sequence[TensorFact]) -> str:
    """Return SsdModel.java: one method for each level, because a method has at most 64 KB."""
    levels = []
    for number, level in enumerate(spec.priors.levels):
        x, y = level.step or (1 / level.columns, 1 / level.rows)
        sizes = _lines((f"{double(w)}, {double(h)}," for w, h in level.boxes), 12)
        levels.append(
            f"    private static Level level{number}() {{\n        return new Level({level.rows}, {level.columns}, "
            f"{double(x)}, {double(y)}, new double[] {{\n{sizes}\n        }});\n    }}\n"
        )
    limits, (logits, offsets) = spec.defaults, outputs
    joined = "\n".join(spec.classes)
    parts = [joined[start : start + JAVA_STRING] for start in range(0, len(joined), JAVA_STRING)]
    return texts.JAVA_TABLES.format(
        version=edgessd.__version__,
        name=printable(spec.name).replace("*/", "* /").replace("\\", "/"),
        priors=spec.priors.count,
        columns=spec.num_logits,
        softmax=boolean(spec.scores == "softmax"),
        clip=boolean(spec.priors.clip),
        exclude_boundary=boolean(spec.priors.exclude_boundary),
        letterbox=boolean(spec.input.resize == "letterbox"),
        width=spec.input.width,
        height=spec.input.height,
        center_variance=double(spec.coder.center_variance),
        size_variance=double(spec.coder.size_variance),
        score_threshold=double(limits.score_threshold),
        iou_threshold=double(limits.iou_threshold),
        max_detections=limits.max_detections,
        max_candidates=limits.max_candidates,
        logits_type=logits.dtype,
        logits_scale=single(1.0 if logits.scale is None else logits.scale),
        logits_zero_point=logits.zero_point,
        offsets_type=offsets.dtype,
        offsets_scale=single(1.0 if offsets.scale is None else offsets.scale),
        offsets_zero_point=offsets.zero_point,
        names=_lines((f"{java_text(part)}," for part in parts), 12).rstrip(","),
        levels="\n".join(levels),
        calls=", ".join(f"level{number}()" for number in range(len(levels))),
    )


def _lines(items: Iterator[str] | Sequence[str], indent: int = 4) -> str:
    return "\n".join(" " * indent + item for item in items)


def _words(path: Path, spec: ModelSpec, places: Sequence[int], outputs: Sequence[TensorFact]) -> dict[str, object]:
    """Return what both READMEs say of the model."""
    tensor = spec.input
    return {
        "version": edgessd.__version__,
        "model": path.name,
        "shape": f"[1, {', '.join(map(str, tensor.tensor_shape))}] ({tensor.layout})",
        "dtype": tensor.dtype,
        "channels": tensor.channels,
        "pixels": _pixels(tensor),
        "resize": f"by letterbox (at the top left, the rest {tensor.pad_value})"
        if tensor.resize == "letterbox"
        else "without keeping its aspect ratio",
        "logits_place": places[0],
        "offsets_place": places[1],
        "logits_kind": _kind(outputs[0]),
        "offsets_kind": _kind(outputs[1]),
        "priors": spec.priors.count,
        "columns": spec.num_logits,
        "license": spec.provenance.license or "see its makers",
    }


def _kind(tensor: TensorFact) -> str:
    return tensor.dtype if tensor.scale is None else f"{tensor.dtype}, (q - {tensor.zero_point}) * {tensor.scale:.9g}"


def _pixels(tensor: InputSpec) -> str:
    """Return what becomes of a byte p of a picture."""
    if value_table(tensor) is None:
        return "p as it is"
    mean, scale = (", ".join(f"{value:g}" for value in values) for values in (tensor.mean, tensor.scale))
    real = f"(p - ({mean})) / ({scale}), by channel"
    if tensor.quantization_scale is None:
        return real
    return f"round(x / {tensor.quantization_scale:.9g}) + {tensor.quantization_zero_point} of x = {real}"


def _kotlin(tensor: InputSpec, places: Sequence[int], outputs: Sequence[TensorFact]) -> dict[str, object]:
    """Return the calls of LiteRT's TensorBuffer for this model's types."""
    reads = [
        f"outputs[{place}].read{'Float' if each.dtype == 'float32' else 'Int8'}()"
        for place, each in zip(places, outputs, strict=True)
    ]
    write = "writeFloat" if tensor.dtype == "float32" else "writeInt8"
    return {"write": write, "read_logits": reads[0], "read_offsets": reads[1]}

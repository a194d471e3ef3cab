"""What a run writes into its folder at the end of an epoch: checkpoints, log, curves, and the line it says."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from edgessd.models.checkpoint import save_checkpoint
from edgessd.models.ssd import SSD
from edgessd.spec import ModelSpec
from edgessd.training.config import TrainConfig
from edgessd.training.evaluate import Score
from edgessd.training.logs import draw_curves, write_csv
from edgessd.training.sets import NO_EVALUATION
from edgessd.training.update import PARTS

# A row of the log: one epoch.
Row = dict[str, float | None]

BEST, LAST = "best.safetensors", "last.safetensors"


def write_epoch(
    out: Path, shell: SSD, spec: ModelSpec, history: list[Row], *, improved: bool, config: TrainConfig
) -> None:
    """Write the checkpoints, the log and the curves after an epoch, the last of `history`."""
    if improved:
        save_checkpoint(out / BEST, shell, _with_metrics(spec, history[-1]))
    write_last(out, shell, spec, history)
    write_csv(out / "log.csv", history)
    draw_curves(out / "curves.png", history, f"mAP_{config.metric}")


def write_last(out: Path, shell: SSD, spec: ModelSpec, history: list[Row]) -> None:
    """Write the present weights as the last checkpoint, described by the last finished epoch."""
    save_checkpoint(out / LAST, shell, _with_metrics(spec, history[-1] if history else {"epoch": 0.0}))


def _with_metrics(spec: ModelSpec, row: Row) -> ModelSpec:
    """The spec with what was measured on it."""
    metrics = {
        f"val/{name}": round(value, 4) for name, value in row.items() if name.startswith("mAP") and value is not None
    }
    provenance = msgspec.structs.replace(
        spec.provenance, weights=f"edgessd train, {int(row['epoch'] or 0)} epochs", metrics=metrics
    )
    return msgspec.structs.replace(spec, provenance=provenance)


def score_columns(score: Score, metric: str) -> Row:
    """Return the columns of an evaluation: both mAPs, and AP by class of the metric that counts."""
    by_class = score.voc07_by_class if metric == "voc07" else score.area_by_class
    return {
        "mAP_voc07": _none_if_nan(score.voc07),
        "mAP_voc": _none_if_nan(score.area),
        **{f"AP/{name}": _none_if_nan(value) for name, value in by_class.items()},
    }


def epoch_line(row: Row, epochs: int) -> str:
    """Return what a person reads after an epoch."""
    parts = [f"epoch {int(row['epoch'] or 0)}/{epochs}", f"loss {row['loss']:.3f}"]
    parts += [f"{name.removeprefix('loss_')} {row[name]:.3f}" for name in PARTS[1:] if name in row]
    if "mAP_voc" in row:
        values = [(label, row[f"mAP_{key}"]) for key, label in (("voc07", "VOC07"), ("voc", "area"))]
        parts.append(
            "mAP " + " ".join(f"{label} {'-' if value is None else f'{100 * value:.1f}'}" for label, value in values)
        )
    parts.append(f"{row['images_per_second']:.1f} images/s")
    return ", ".join(parts)


def done_lines(best: Path, metric: float | None, config: TrainConfig) -> str:
    """Return what a person reads at the end: where the checkpoint is, and what to do with it."""
    shown = "" if metric is None else f" (mAP {100 * metric:.1f})"
    lines = [f"done: {best}{shown}"]
    if config.val_split != NO_EVALUATION:
        split = f" --split {config.val_split}" if config.val_split else ""
        lines.append(f"evaluate: edgessd evaluate {best} --data {config.val_data or config.data}{split}")
    lines.append(f"export:   edgessd export {best} -o {best.with_suffix('.onnx')}")
    return "\n".join(lines)


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value

"""The text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Sample = tuple[Mapping[str, str], float]
Metric = tuple[str, str, str, list[Sample]]


def exposition(metrics: Iterable[Metric]) -> str:
    """Return metrics as text; each is (name, type, help, samples), a sample (labels, value).

    See https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
    """
    lines = []
    for name, kind, text, samples in metrics:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        for labels, value in samples:
            inside = ",".join(f'{key}="{_escape(each)}"' for key, each in labels.items())
            lines.append(f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

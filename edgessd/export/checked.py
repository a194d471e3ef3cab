"""Export, compare, and only then put the file where it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgessd.errors import InputError, ModelError, OptionError, did_you_mean
from edgessd.evaluation.protocols import METRICS
from edgessd.export.formats import export_model, open_source
from edgessd.export.verify import LIMITS, Report, check, verify, write_report
from edgessd.io.files import check_writable, put_in_place, scratch_folder
from edgessd.models.ssd import SSD


def export_checked(
    source: Any,
    path: str | Path,
    *,
    images: Any = None,
    max_rms: float | None = None,
    min_agreement: float | None = None,
    data: str | None = None,
    split: str | None = None,
    metric: str = "voc",
    compare: bool = True,
    say: Callable[[str], None] = lambda step: None,
    **options: Any,
) -> Report | None:
    """Write a network as `export_model` does, after `verify` found nothing wrong; return its report.

    The report lies beside the file as JSON. A file beyond the limits is not put in its place: its report is written
    and ModelError raised. max_rms, min_agreement: limits instead of those of the precision. images, data, split,
    metric: see `verify`. compare: False leaves the comparison out; the result is None then. say: is told each step.
    Other options and errors: see `export_model`.
    """
    if metric not in METRICS:
        raise OptionError(f"unknown metric {metric!r}{did_you_mean(metric, METRICS)}: use {', '.join(METRICS)}")
    target = Path(path)
    try:
        check_writable(target)
    except InputError as error:
        raise ModelError(str(error)) from None
    say("reading the checkpoint")
    network, spec = open_source(source)
    with scratch_folder(target) as folder:
        file = folder / target.name
        say("writing the file")
        written = export_model((network, spec) if isinstance(network, SSD) else network, file, **options)
        report = None
        if compare:
            say("comparing it with the checkpoint")
            limits = LIMITS[written.precision]
            given = {"rms": max_rms, "agreement": min_agreement}
            limits = msgspec.structs.replace(limits, **{k: v for k, v in given.items() if v is not None})
            reference = (network, spec) if isinstance(network, SSD) else (network.graph, spec)
            report = verify(file, reference, images=images, limits=limits, data=data, split=split, metric=metric)
            write_report(target, report)
            check(report)
        for part in (file.with_suffix(".bin"), file):
            if part.exists():
                put_in_place(part, target.with_suffix(part.suffix))
    return report

"""The SSD paper's table of speed (Liu et al. 2016, table 7), and the same detectors measured on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgessd.apps.benchmark.peers import FASTER_RCNN, PROPOSALS, SSD300, SSD512, YOLOX
from edgessd.apps.benchmark.records import PAPER, Machine, Report, Row, Task

MACHINE = Machine(
    name=PAPER,
    processor="Intel Xeon E5-2667v3 at 3.20 GHz",
    cores=8,
    architecture="x86_64",
    gpus=["Titan X, cuDNN v4"],
    system="as published in table 7, with VOC2007 test mAP; suppression included",
)
# Name, mAP, pictures per second, batch, boxes, input.
PUBLISHED = (
    ("Faster R-CNN (VGG16)", 73.2, 7, 1, PROPOSALS, "~1000x600"),
    ("Fast YOLO", 52.7, 155, 1, 98, "448x448"),
    ("YOLO (VGG16)", 66.4, 21, 1, 98, "448x448"),
    ("SSD300", 74.3, 46, 1, 8732, "300x300"),
    ("SSD512", 76.8, 19, 1, 24564, "512x512"),
    ("SSD300", 74.3, 59, 8, 8732, "300x300"),
    ("SSD512", 76.8, 22, 8, 24564, "512x512"),
)
# Not in table 7: mAP of table 1 (07+12), speed as the YOLO paper's table 1 has it, selective search included.
FAST_RCNN = ("Fast R-CNN (VGG16)", 70.0, 0.5, 1, 2000, "~1000x600")
NETWORKS = (SSD300, SSD512, FASTER_RCNN)
MEASURED = "VOC07 mAP"
RANDOM = "random weights: for its time alone, about 300 scores pass the threshold"


def published_rows() -> list[Row]:
    """Return the paper's own figures."""
    rows = []
    for number, (name, accuracy, rate, batch, boxes, size) in enumerate((FAST_RCNN, *PUBLISHED)):
        row = Row(machine=PAPER, model=name, precision="fp32", runtime="caffe", batch=batch, rate=rate, input=size)
        row.accuracy, row.boxes = {MEASURED: accuracy}, boxes
        if "YOLO" in name:
            row.runtime = "darknet"
        if not number:
            row.notes = ["not in table 7: mAP from table 1, speed from the YOLO paper, selective search included"]
        rows.append(row)
    return rows


def add_published(report: Report) -> None:
    """Complete a report of `paper_tasks`: what the measured rows mean, and the paper's own rows and machine."""
    for row in report.rows:
        if row.model in NETWORKS and row.status == "ok":
            row.notes.insert(0, RANDOM)
        if row.model == FASTER_RCNN:
            row.boxes = PROPOSALS
    report.rows += published_rows()
    report.machines.append(MACHINE)


def paper_tasks(common: Task, threads: Sequence[int | None], batches: Sequence[int], yolox: str | None) -> list[Task]:
    """Return the tasks of the paper's detectors on the processor, and once for each kind of GPU.

    yolox: an ONNX file of YOLOX; with `common.data`, its accuracy is measured, too.
    """
    models = [(name, "torch", ("", "cuda", "cuda-fp16")) for name in NETWORKS]
    if yolox is not None:
        models.append((YOLOX + yolox, "onnx", ("", "cuda", "tensorrt")))
    tasks = [
        msgspec.structs.replace(
            common, model=model, runtime=runtime, provider=provider, threads=count, batch=batch, fewest=3, warmup=1
        )
        for model, runtime, providers in models
        for provider in providers
        for count in (threads if not provider else (None,))
        for batch in batches
    ]
    if common.data and yolox is not None:
        accuracy = msgspec.structs.replace(common, kind="accuracy", model=YOLOX + yolox, runtime="onnx")
        tasks.insert(0, accuracy)
    return tasks

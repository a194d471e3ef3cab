"""Our figures against pycocotools' and against the devkit's rule written out, on a stored file of detections."""

from pathlib import Path

import numpy as np
import pytest

from edgessd import Detections
from edgessd.datasets import LabelledSet, Sample, load_coco
from edgessd.evaluation import evaluate, load_detections
from edgessd.evaluation.voc import average_precision, voc_ap

DATA = Path(__file__).parent.parent / "data"

# pycocotools 2.0.11, printed by tests/data/make_stored.py. Its VOC figures are those of its precision at IoU 0.5,
# at 11 recalls and at 20,001: the latter is a sum, not an integral, and agrees to some 0.003.
COCO = (30.734343, 54.91224, 29.28576, 27.079758, 34.367247, 35.564018, 31.150463, 40.157618, 40.157618)
COCO_BY_CLASS = (34.08739, 30.312761, 35.385979, 27.720297, 28.91786, 27.981773)
VOC07_BY_CLASS = (63.932975, 61.050551, 61.981011, 53.636364, 51.590909, 47.550505)
VOC_BY_CLASS = (60.762482, 58.859885, 61.631629, 49.446528, 50.93173, 47.55056)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(1, 41):
        (folder / f"{number:03d}.png").touch()
    truth = load_coco(DATA / "stored_truth.json", folder)
    return truth, load_detections(DATA / "stored_detections.json", truth)[2]


@pytest.mark.parametrize(
    ("metric", "figures", "by_class", "tolerance"),
    [
        ("coco", COCO, COCO_BY_CLASS, 1e-5),
        ("voc07", (np.mean(VOC07_BY_CLASS),), VOC07_BY_CLASS, 1e-5),
        ("voc", (np.mean(VOC_BY_CLASS),), VOC_BY_CLASS, 5e-3),
    ],
)
def test_figures_are_those_of_pycocotools(stored, metric, figures, by_class, tolerance):
    if metric == "coco":
        pytest.importorskip("faster_coco_eval")
    result = evaluate(*stored, metric)
    assert tuple(result.figures.values()) == pytest.approx(figures, abs=tolerance)
    assert [each.ap for each in result.classes] == pytest.approx(by_class, abs=tolerance)
    assert (result.classes[0].name, result.classes[0].model_name) == ("aeroplane", "airplane")
    assert result.match.unused == ("kite",)
    assert result.match.missing == {}


def test_the_goldens_come_from_pycocotools(stored, capsys):
    pytest.importorskip("pycocotools")
    import importlib.util
    import json

    spec = importlib.util.spec_from_file_location("make_stored", DATA / "make_stored.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.reference(*(json.loads((DATA / f"stored_{name}.json").read_text()) for name in ("truth", "detections")))
    printed = capsys.readouterr().out
    assert f"coco {list(COCO)}" in printed
    assert f"coco by class {list(COCO_BY_CLASS)}" in printed
    assert f"voc07 {list(VOC07_BY_CLASS)}" in printed


def test_coco_of_difficult_objects_is_that_of_crowds(stored):
    pytest.importorskip("faster_coco_eval")
    truth, found = stored
    from dataclasses import replace

    swapped = [replace(s, difficult=s.crowd, crowd=np.zeros(len(s), bool)) for s in truth.samples]
    other = LabelledSet(tuple(swapped), truth.classes, truth.category_ids)
    assert evaluate(other, found, "coco").figures == evaluate(truth, found, "coco").figures


def devkit(truth, detections, label, eleven):
    """VOCevaldet.m of the VOC devkit, line by line, with loops; boxes with exclusive corners."""
    rows = [
        (float(score), image, box)
        for image, found in enumerate(detections)
        for box, score, mine in zip(found.boxes, found.scores, found.labels, strict=True)
        if mine == label
    ]
    rows.sort(key=lambda row: -row[0])
    claimed = [np.zeros(len(sample), bool) for sample in truth.samples]
    objects = sum(int(((s.labels == label) & ~s.difficult).sum()) for s in truth.samples)
    hits = []
    for _, image, box in rows:
        sample = truth.samples[image]
        best, which = -np.inf, -1
        for place in np.flatnonzero(sample.labels == label):
            other = sample.boxes[place]
            wide = min(box[2], other[2]) - max(box[0], other[0])
            tall = min(box[3], other[3]) - max(box[1], other[1])
            if wide > 0 and tall > 0:
                common = float(wide) * float(tall)
                both = float(np.prod(box[2:] - box[:2])) + float(np.prod(other[2:] - other[:2]))
                if common / (both - common) > best:
                    best, which = common / (both - common), place
        if best >= 0.5:
            if not sample.difficult[which]:
                hits.append(not claimed[image][which])
                claimed[image][which] = True
        else:
            hits.append(False)
    true = np.cumsum(hits)
    return average_precision(true / objects, true / np.arange(1, len(true) + 1), eleven) if objects else np.nan


@pytest.mark.parametrize("eleven", [True, False])
def test_crowded_pictures_agree_with_the_devkit_written_out(rng, eleven):
    classes = ("a", "b", "c")
    samples, detections = [], []
    for number in range(25):
        count = int(rng.integers(0, 9))
        low = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(20, 50, (count, 2))], axis=1).astype(np.float32)
        flags = rng.random(count) < 0.2
        labels = rng.integers(0, 3, count)
        samples.append(Sample(Path("x"), number, boxes, labels, flags, flags & False, np.ones(count)))
        many = 4 * count
        moved = np.repeat(boxes, 4, axis=0) + rng.normal(0, 5, (many, 4)).astype(np.float32)
        scores = (rng.integers(0, 30, many) / 30).astype(np.float32)  # many are equal
        order = np.argsort(-scores, kind="stable")
        said = np.where(rng.random(many) < 0.7, np.repeat(labels, 4), rng.integers(0, 3, many))
        detections.append(Detections(moved[order], scores[order], said[order], classes, (110, 110)))
    truth = LabelledSet(tuple(samples), classes, (1, 2, 3))
    expected = [devkit(truth, detections, label, eleven) for label in range(3)]
    assert list(voc_ap(truth, detections, eleven_points=eleven).values()) == pytest.approx(expected, abs=1e-12)
    assert 0.1 < np.mean(expected) < 0.9

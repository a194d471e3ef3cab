"""Other people's programs on exported files: the list and the page agree, contracts on small arrays, and the runs."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from edgessd import Detections

from . import page, run
from .clients import CLIENTS, Client
from .outcome import Limits, MissingError, Outcome, compare

RUNS = [
    pytest.param(client, file, id=f"{client.name}-{client.version}-{file}")
    for client in CLIENTS
    for file in client.files
]


def script(name):
    """A module of scripts/, which find each other beside themselves."""
    path = Path(__file__).parent / "scripts" / f"{name}.py"
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))
        sys.modules.pop("common", None)


def test_the_page_has_the_clients_of_the_list():
    assert page.listed() == page.expected()


def test_every_reason_belongs_to_a_file():
    for client in CLIENTS:
        for named in (client.own, client.differs, client.fails):
            assert set(named) <= {*client.files, ""}


def found(*rows):
    boxes = np.array([row[2:] for row in rows], np.float32).reshape(-1, 4)
    labels, scores = (np.array([row[place] for row in rows]) for place in (0, 1))
    return Detections(boxes, scores.astype(np.float32), labels.astype(np.int64), ("cat", "dog"), (100, 100))


CAT, DOG = (0, 0.9, 10, 10, 50, 50), (1, 0.6, 40, 40, 90, 90)


@pytest.mark.parametrize(
    "theirs, right",
    [
        ([CAT, ["dog", *DOG[1:]]], True),
        ([[0, 0.905, 10.9, 10, 50, 50], DOG], True),
        ([[0, 0.9, 12, 10, 50, 50], DOG], False),  # two pixels off
        ([[0, 0.85, *CAT[2:]], DOG], False),
        ([CAT], False),
        ([CAT, [0, *DOG[1:]]], False),  # another class
        ([CAT, DOG, [0, 0.4, 60, 0, 90, 20]], False),  # one too many
        ([CAT, DOG, [0, 0.305, 60, 0, 90, 20]], True),  # at the threshold
    ],
)
def test_what_counts_as_the_same(theirs, right):
    limits = Limits()
    assert compare([found(CAT, DOG)], [theirs], limits, 0.3).within(limits) is right


def test_scores_at_a_threshold_decide_nothing_and_figures_are_the_worst():
    low = (1, 0.405, 0, 0, 20, 20)
    outcome = compare([found(CAT, low)], [[[0, 0.88, 10, 12, 50, 50]]], Limits(at=0.4), 0.3)
    assert (outcome.matched, outcome.expected, outcome.extra) == (1, 1, 0)
    assert (outcome.iou, outcome.pixels, outcome.score) == pytest.approx((0.95, 2, 0.02), abs=1e-6)


def test_a_client_that_finds_nothing_where_nothing_is_proves_nothing():
    assert not compare([found()], [[]], Limits(), 0.3).within(Limits())


def test_verdicts_of_the_table():
    known = {"differs": {"a": "its resize"}, "fails": {"b": "no int8"}}
    client = Client("some", ("some==1",), ("x.py",), ("a", "b", "c"), **known)
    off, none = Outcome(2, 2, 0, 0.8, 9, 0.1), Outcome(error="Error: no")
    cells = {
        file: (row.as_known, row.cells()[3], row.cells()[-1])
        for file, outcome in {"a": off, "b": none, "c": off}.items()
        for row in [page.Row(client, file, outcome)]
    }
    assert cells == {
        "a": (True, "near", "its resize"),
        "b": (True, "no", "no int8"),
        "c": (False, "no", "beyond the limits"),
    }
    assert not page.Row(client, "b", Outcome(2, 2)).as_known  # works by now: the list is to say so
    assert page.Row(client, "a", None, "needs node").cells()[3:] == ["not run", "", "", "", "", "needs node"]


def test_frigate_cuts_at_its_threshold_and_at_20_rows():
    frigate = script("use_frigate")
    boxes, scores = np.tile([0.1, 0.2, 0.3, 0.4], (30, 1)), np.linspace(0.9, 0.5, 30)
    assert len(frigate.of_places(boxes, np.arange(30), scores, 30.0)) == 20
    assert frigate.of_places(boxes[:2], [7, 8], [0.8, 0.39], 2.0) == [[7, 0.8, 0.1, 0.2, 0.3, 0.4]]
    assert frigate.of_detections7([[0, 5, 0.7, 0.1, 0.2, 0.3, 0.4]]) == [[5, 0.7, 0.2, 0.1, 0.4, 0.3]]
    rows = [[0, 30, 60, 150, 240, 0.7, 5], [0, 0, 0, 0, 0, 0, -1], [0, 30, 60, 150, 240, 0.7, 5]]
    assert frigate.of_yolonas(rows, 300, 300) == [[5, 0.7, 0.2, 0.1, 0.8, 0.5]]


def test_jetson_joins_boxes_of_one_class():
    jetson = script("use_jetson")
    scores = np.array([[0.1, 0.9, 0.0], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9], [0.9, 0.1, 0.4]])
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.52], [0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]])
    assert jetson.detections(scores, boxes) == [[0, 0.9, 0.1, 0.1, 0.5, 0.52], [1, 0.9, 0.1, 0.1, 0.5, 0.5]]


def test_pycoral_asks_for_output_0_to_3():
    class Engine:
        def __init__(self, names):
            self.names = names

        def get_signature_list(self):
            return {"serving_default": self.names}

        def _get_full_signature_list(self):
            return {"serving_default": {"outputs": {name: place for place, name in enumerate(self.names)}}}

        def get_tensor(self, place):
            return place

    pycoral = script("use_pycoral")
    assert pycoral.outputs(Engine(["output_3", "output_2", "output_1", "output_0"])) == (3, 2, 1, 0)
    with pytest.raises(KeyError, match="output_0"):
        pycoral.outputs(Engine(["boxes", "labels", "scores", "count"]))


@pytest.mark.slow
@pytest.mark.parametrize("client, file", RUNS)
def test_a_client_gives_the_detections_of_detect(client, file):
    try:
        row = page.Row(client, file, run.run(client, file, run.pictures(bundled=True)))
    except MissingError as reason:
        pytest.skip(str(reason))
    assert row.as_known, row.cells()

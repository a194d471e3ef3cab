import math
from typing import Any

import numpy as np
import pytest

from edgessd.apps.camera.counters import Counters, parse_line, parse_zone
from edgessd.apps.camera.pipeline import Follower
from edgessd.apps.camera.tracking import Tracker
from edgessd.errors import DependencyError, OptionError


def person(x: float, foot: float, number: int | None = None, *, score: float = 0.9) -> Any:
    """A person whose feet are at (x, foot) in a picture of 100 x 100."""
    box = (x - 5, foot - 20, x + 5, foot)
    return ("person", score, box, number)


def walk(follower: Follower, make_result: Any, *path: tuple[float, float], number: int | None = 1) -> dict[str, Any]:
    for index, (x, foot) in enumerate(path):
        result = make_result(index, [person(x, foot, number)])
        follower.follow(result)
    return dict(result.counts)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([(50, 30), (50, 70)], {"in": 1, "out": 0}),  # downwards: from the left of the line to its right
        ([(50, 70), (50, 30)], {"in": 0, "out": 1}),
        ([(50, 30), (50, 49), (50, 30)], {"in": 0, "out": 0}),
        ([(50, 30), (50, 50), (50, 50.2), (50, 49.8), (50, 70)], {"in": 1, "out": 0}),  # it lingers on the line
        ([(50, 70), (50, 50), (50, 70)], {"in": 0, "out": 0}),
        ([(95, 30), (95, 70)], {"in": 0, "out": 0}),  # past the line's end
        ([(50, 30), (50, 70), (50, 30), (50, 70)], {"in": 2, "out": 1}),
    ],
)
def test_crossing_a_line(make_result: Any, path: list[tuple[float, float]], expected: dict[str, int]) -> None:
    counters = Counters([parse_line("door=0.1,0.5,0.9,0.5")])
    assert walk(counters, make_result, *path) == {"door": expected}


def test_without_ids_a_line_counts_nothing(make_result: Any) -> None:
    counters = Counters([parse_line("0,0.5,1,0.5")])
    assert walk(counters, make_result, (50, 30), (50, 70), number=None) == {"line 1": {"in": 0, "out": 0}}


def test_zone_counts_who_is_inside_and_who_came(make_result: Any) -> None:
    counters = Counters([parse_zone("shelf=0.4,0.4,0.6,0.4,0.6,0.6,0.4,0.6")])
    steps = [(30, 50), (50, 50), (52, 50), (70, 50), (50, 50)]
    inside = []
    for index, (x, foot) in enumerate(steps):
        result = make_result(index, [person(x, foot, 7), person(50, 90, 8)])
        counters.follow(result)
        inside.append(result.counts["shelf"]["inside"])
    assert inside == [0, 1, 1, 0, 1] and result.counts["shelf"]["entered"] == 2


def test_forgotten_ids_do_not_pile_up(make_result: Any) -> None:
    counters = Counters([parse_line("0,0.5,1,0.5"), parse_zone("z=0,0,1,0,1,1")])
    for index in range(2000):
        counters.follow(make_result(index, [person(50, 30, index)], time=index * 0.5))
    assert len(counters._last) < 60


@pytest.mark.parametrize("text", ["", "a=1,2", "0.1,0.2,0.3", "0,0,1.5,1", "a,b,c,d", "x=0.5,0.5,0.5,0.5", "nan,0,1,1"])
def test_lines_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="--line"):
        parse_line(text)


def test_zone_needs_three_corners() -> None:
    with pytest.raises(OptionError, match="three points"):
        parse_zone("0,0,1,1")
    assert parse_zone("back door=0 0, 1 0, 1 1").name == "back door"


# tracking


def test_without_its_packages_tracking_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "trackers", None)
    with pytest.raises(DependencyError, match=r"pip install 'edgessd\[track\]'"):
        Tracker(0.3, 30.0)


def test_ids_stay_with_their_objects(make_result: Any) -> None:
    pytest.importorskip("trackers")
    tracker = Tracker(0.3, 10.0)
    seen: dict[str, set[int | None]] = {"left": set(), "right": set()}
    rng = np.random.default_rng(0)
    for index in range(40):
        objects = [
            ("left", 20 + index * 0.5 + rng.normal() * 0.3, 60.0),
            ("right", 80 - index * 0.5, 60 + math.sin(index / 5)),
        ]
        if index % 2:
            objects.reverse()  # the order of detections says nothing
        if index in (20, 21):
            objects = [each for each in objects if each[0] != "left"]  # missed in two frames
        result = make_result(index, [person(x, foot)[:3] for _, x, foot in objects])
        tracker.follow(result)
        assert len(result.ids) == len(objects)
        if index > 3:
            for (name, *_), number in zip(objects, result.ids, strict=True):
                seen[name].add(number)
    assert len(seen["left"]) == len(seen["right"]) == 1 and seen["left"] != seen["right"]
    assert None not in seen["left"] | seen["right"]


def test_frames_without_objects_are_tracked_as_well(make_result: Any) -> None:
    pytest.importorskip("trackers")
    tracker = Tracker(0.3, 10.0)
    for index in range(5):
        result = make_result(index)
        tracker.follow(result)
        assert list(result.ids) == []


def test_weak_detection_continues_a_track_and_begins_none(make_result: Any) -> None:
    pytest.importorskip("trackers")
    tracker = Tracker(0.3, 10.0)
    ids = []
    for index in range(8):
        strong = index < 5
        objects = [person(50, 60, score=0.9 if strong else 0.33)[:3], person(20, 60, score=0.33)[:3]]
        result = make_result(index, objects)
        tracker.follow(result)
        ids.append(tuple(result.ids))
    assert ids[-1] == (ids[4][0], None) and ids[4][0] is not None


@pytest.mark.parametrize("shift", [0.0, -3600.0, -0.5, 3600.0])
def test_clock_that_is_set_loses_no_id_and_no_crossing(make_result: Any, shift: float) -> None:
    """Somebody walks over a line; the device's clock is set on the way."""
    pytest.importorskip("trackers")
    tracker, counters = Tracker(0.3, 10.0), Counters([parse_line("0.1,0.5,0.9,0.5")])
    ids = set()
    for index in range(20):
        wall = 1.7e9 + index / 10 + (shift if index >= 8 else 0.0)
        result = make_result(index, [person(50, 30 + 2 * index)[:3]], wall=wall)
        for follower in (tracker, counters):
            follower.follow(result)
        ids.update(result.ids)
    assert len(ids - {None}) == 1 and result.counts["line 1"] == {"in": 1, "out": 0}

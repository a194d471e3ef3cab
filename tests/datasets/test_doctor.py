import json
from collections import Counter

import numpy as np
import pytest

from edgessd.datasets import load_dataset
from edgessd.datasets.doctor import best_overlaps, examine, fit_priors, propose_priors, repair
from edgessd.datasets.doctor.names import misspelt
from edgessd.datasets.doctor.prior_fit import kmeans
from edgessd.datasets.doctor.sheet import problem_sheet
from edgessd.datasets.load import read_dataset
from edgessd.datasets.problems import PROBLEM_KINDS
from edgessd.errors import InputError, OptionError
from edgessd.ops.boxes import iou_matrix, to_xyxy
from edgessd.ops.priors import explicit_priors, prior_boxes, tensorflow_priors
from edgessd.spec import InputSpec

FINE = ("cat", (10, 10, 40, 40))
TENSOR = InputSpec(width=300, height=300)
PRIORS = tensorflow_priors([(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)])


def checkup(path, split=None, **options):
    found = []
    return examine(read_dataset(path, split, problems=found), found, whole=split is None, **options)


def kinds(path, split=None, **options):
    return Counter(problem.kind for problem in checkup(path, split, **options).problems)


def test_nothing_is_wrong_with_a_good_set(make):
    root = make.voc({"a": [FINE, ("dog", (1, 1, 64, 48))], "b": [FINE]})
    assert kinds(root) == {}
    assert problem_sheet(checkup(root)) is None


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([], "no-objects"),
        ([("cat", (1, 1, 66, 40))], "outside"),
        ([("cat", (0, 1, 20, 20))], "outside"),
        ([("cat", (100, 100, 120, 120))], "outside"),
        ([("cat", (40, 10, 10, 40))], "inverted"),
        ([("cat", (10, 40, 40, 10))], "inverted"),
        ([("cat", (10, 10, 10, 40))], "empty"),
        ([("cat", (10, 10, 10, 10))], "empty"),
        ([FINE, FINE], "duplicate-box"),
        ([FINE, ("cat", (10, 10, 40, 41))], "duplicate-box"),
        ([FINE, ("dog", (10, 10, 40, 40))], "duplicate-box"),
    ],
)
def test_each_fault_has_its_kind(make, objects, expected):
    assert kinds(make.voc({"a": objects})) == {expected: 1}


@pytest.mark.parametrize(
    ("box", "input_size", "tiny"),
    [
        ((10, 10, 15, 200), (300, 300), True),  # 6 of 640 pixels are less than 1 %
        ((10, 10, 18, 200), (300, 300), False),
        ((10, 10, 18, 200), (200, 200), True),  # 9 of 640 pixels are 2.8 of 200
    ],
)
def test_tiny_depends_on_the_model_s_input(make, box, input_size, tiny):
    root = make.voc({"a": [("cat", box)]}, size=(640, 480))
    assert kinds(root, input_size=input_size) == ({"tiny": 1} if tiny else {})


def test_faults_of_pictures_and_files(make):
    root = make.voc({name: [FINE] for name in "abcdefg"})
    images = root / "JPEGImages"
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:200])
    (images / "b.png").write_bytes(b"")
    make.picture("JPEGImages/c.png", (60, 48))
    (images / "d.png").write_bytes((images / "e.png").read_bytes())
    (root / "Annotations/f.xml").write_text("<annotation>")
    (images / "g.png").unlink()
    make.picture("JPEGImages/stranger.png")
    (root / "ImageSets/Main/train.txt").write_text("a\nb\nc\n")
    (root / "ImageSets/Main/val.txt").write_text("c\nd\n")
    (root / "ImageSets/Main/trainval.txt").write_text("a\nb\nc\nd\n")
    found = checkup(root)
    counts = Counter(problem.kind for problem in found.problems)
    assert counts == {
        "image": 2, "size": 1, "duplicate-image": 1, "annotation": 1, "no-image": 1, "no-annotation": 2, "split": 1
    }  # fmt: skip
    assert {p.file.name for p in found.of_kind("no-annotation")} == {"f.png", "stranger.png"}
    assert "both train and val" in found.of_kind("split")[0].text
    assert [p.kind for p in found.problems] == sorted((p.kind for p in found.problems), key=list(PROBLEM_KINDS).index)
    sheet = problem_sheet(found)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    assert "no-annotation" not in kinds(root, "val")


def test_faults_of_other_formats_are_collected(make):
    yolo = make.yolo({"a": "0 0.5 0.5 2 0.5\n9 0.5 0.5 0.1 0.1\nx\n0 0.5 0.5 0 0.5\n"}, "yolo")
    assert kinds(yolo) == {"outside": 1, "class": 1, "object": 1, "empty": 1}
    coco = make.coco({"a": [("cat", [1, 1, 0, 9]), ("cat", [1, 1, -5, 9]), ("cat", [60, 1, 9, 9])]}, "coco")
    assert kinds(coco) == {"empty": 1, "inverted": 1, "outside": 1}


@pytest.mark.parametrize(
    ("counts", "expected", "suspects"),
    [
        ({}, None, {}),
        ({"cat": 9, "dog": 1}, None, {}),
        ({"cat": 90, "Cat": 80}, None, {"Cat": "cat"}),
        ({"cat": 90, "cats": 80}, None, {"cats": "cat"}),
        ({"hot dog": 90, "hot_dog": 80}, None, {"hot_dog": "hot dog"}),
        ({"bus": 90, "buses": 1, "box": 9}, None, {"buses": "bus"}),
        ({"Platelets": 90, "Platlets": 2}, None, {"Platlets": "Platelets"}),
        ({"Platelets": 90, "Platlets": 60}, None, {}),  # both are common: perhaps they are two classes
        ({"horse": 90, "house": 80}, None, {}),
        ({"RBC": 4000, "WBC": 3}, None, {}),
        ({"cat": 5, "dgo": 5, "zebra": 5}, ["cat", "dog"], {"dgo": "", "zebra": ""}),
        ({"cat": 5, "Dog": 5}, ["cat", "dog"], {"Dog": "dog"}),
    ],
)
def test_names(counts, expected, suspects):
    assert misspelt(Counter(counts), expected) == suspects


def test_an_odd_size_for_a_class_is_noticed_and_a_varied_class_is_not(make, rng):
    usual = {f"p{n:02}": [("cell", (5, 5, 25 + n % 3, 25)), ("any", (1, 1, 3 + n * 2, 4 + n * 2))] for n in range(20)}
    assert "odd-size" not in kinds(make.voc(usual, "fine"))
    found = checkup(make.voc({**usual, "x": [("cell", (1, 1, 64, 48))]}, "odd")).of_kind("odd-size")
    assert [problem.image.stem for problem in found] == ["x"]


def test_best_overlaps_are_those_of_the_whole_table(rng):
    low = rng.uniform(0, 0.6, (40, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.02, 0.4, (40, 2))], axis=1).astype(np.float32)
    expected = iou_matrix(boxes, to_xyxy(prior_boxes(PRIORS))).max(axis=1)
    assert best_overlaps(boxes, PRIORS) == pytest.approx(expected)
    assert best_overlaps(boxes[:0], PRIORS).shape == (0,)


def test_the_proposal_suits_the_data_better_and_keeps_the_head(rng):
    # Long, thin objects that the published shapes do not match.
    low = rng.uniform(0, 0.4, (300, 2))
    shape = np.stack([rng.uniform(0.4, 0.6, 300), rng.uniform(0.05, 0.08, 300)], axis=1)
    boxes = np.concatenate([low, low + shape], axis=1).astype(np.float32)
    proposal = propose_priors(boxes, PRIORS, seed=0)
    assert proposal.rule == "kmeans"
    assert [(v.rows, v.columns, len(v.boxes)) for v in proposal.levels] == [
        (v.rows, v.columns, len(v.boxes)) for v in PRIORS.levels
    ]
    before, after = ((best_overlaps(boxes, spec) >= 0.5).mean() for spec in (PRIORS, proposal))
    assert before < 0.2
    assert after > 0.9
    assert propose_priors(boxes, PRIORS, seed=0) == proposal


def test_shapes_stand_where_those_most_like_them_stood(rng):
    wide, tall, large = (0.4, 0.1), (0.1, 0.4), (0.8, 0.8)
    current = explicit_priors([(4, 4)], [[large, tall, wide]])
    sides = np.array([(0.5, 0.12), (0.12, 0.5), (0.9, 0.9)], np.float32)[np.arange(60) % 3]
    corner = rng.uniform(0, 0.1, (60, 1)).astype(np.float32)
    boxes = np.concatenate([corner, corner, corner + sides], axis=1)
    (level,) = propose_priors(boxes, current).levels
    assert np.allclose(level.boxes, [(0.9, 0.9), (0.12, 0.5), (0.5, 0.12)], atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_few_objects_still_fill_every_level(count):
    boxes = np.tile(np.array([[0.1, 0.1, 0.4, 0.5]], np.float32), (count, 1))
    proposal = propose_priors(boxes, PRIORS)
    assert [len(level.boxes) for level in proposal.levels] == [len(level.boxes) for level in PRIORS.levels]


def test_kmeans_finds_separate_shapes(rng):
    centers = np.array([[0.1, 0.1], [0.1, 0.5], [0.6, 0.6]])
    shapes = (np.repeat(centers, 50, axis=0) * rng.uniform(0.95, 1.05, (150, 2))).astype(np.float32)
    assert kmeans(shapes, 3, rng) == pytest.approx(centers, rel=0.03)


def test_priors_of_a_set_without_usable_objects(make):
    data = load_dataset(make.voc({"a": [("cat", (5, 5, 5, 5))]}))
    with pytest.raises(InputError, match="no objects with an area"):
        fit_priors(data, [(64, 48)], TENSOR, PRIORS)


FAULTY = {
    "a": [FINE, FINE, ("Cat", (5, 5, 30, 30))],
    "b": [("cat", (40, 30, 10, 10)), ("cat", (5, 5, 5, 5)), ("dog", (50, 40, 90, 90)), ("dog", (90, 90, 99, 99))],
}


def test_the_repaired_copy_of_voc_has_no_such_faults(make, tmp_path):
    root = make.voc(FAULTY, "data", {"train": ["a"], "val": ["b"]})
    before = {path: path.read_bytes() for path in root.rglob("*.xml")}
    done = repair(checkup(root), tmp_path / "out", [root], {"Cat": "cat"})
    assert done.pictures == 2
    assert done.repairs["object renamed"] == 1
    assert kinds(tmp_path / "out") == {}
    fixed = load_dataset(tmp_path / "out", "val")
    assert fixed.classes == ("cat", "dog")
    assert fixed.samples[0].boxes.tolist() == [[9, 9, 40, 30], [49, 39, 64, 48]]
    assert fixed.samples[0].image.read_bytes() == (root / "JPEGImages/b.png").read_bytes()
    assert {path: path.read_bytes() for path in root.rglob("*.xml")} == before


def test_the_repaired_copy_of_coco_keeps_its_category_ids(make, tmp_path):
    box = [1, 1, 9, 9]
    coco = make.coco({"a": [("cat", box), ("dog", box), ("kat", box)]}, "coco")  # 5, 7, 9
    repair(checkup(coco), tmp_path / "out", [coco], {"kat": "cat"})
    assert load_dataset(tmp_path / "out").category_ids == (5, 7)
    repair(checkup(coco), tmp_path / "other", [coco], {"cat": "kat"})
    kept = load_dataset(tmp_path / "other")
    assert (kept.classes, kept.category_ids) == (("dog", "kat"), (7, 9))


def test_the_repaired_copies_of_coco_and_yolo_keep_their_format(make, tmp_path):
    coco = make.coco({"a": [("cat", [1, 1, 0, 9]), ("cat", [50, 1, 30, 9])]}, "coco")
    repair(checkup(coco), tmp_path / "out1", [coco])
    assert load_dataset(tmp_path / "out1", "train").samples[0].boxes.tolist() == [[50, 1, 64, 10]]
    yolo = make.yolo({"a": "1 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5\n", "b": None}, "yolo")
    repair(checkup(yolo), tmp_path / "out2", [yolo], {"dog": "wolf"})
    fixed = load_dataset(tmp_path / "out2", "train")
    assert fixed.classes == ("cat", "wolf")
    assert [sample.boxes.tolist() for sample in fixed.samples] == [[[16, 12, 48, 36]], []]


def test_splits_of_yolo_stay_apart_in_the_copy(make, tmp_path):
    make.yolo({"a": None}, "yolo", "train")
    root = make.yolo({"b": "0 0.5 0.5 0.5 0.5"}, "yolo", "val")
    repair(checkup(root), tmp_path / "out", [root])
    for split, name in (("train", "a"), ("val", "b")):
        assert [s.image.stem for s in load_dataset(tmp_path / "out", split).samples] == [name]


def test_the_copy_needs_a_folder_of_its_own(make, tmp_path):
    root = make.voc({"a": [FINE]}, "data")
    found = checkup(root)
    with pytest.raises(InputError, match="inside the data set"):
        repair(found, root / "fixed", [root])
    full = tmp_path / "full"
    full.mkdir()
    (full / "x").touch()
    with pytest.raises(InputError, match="not empty"):
        repair(found, full, [root])
    with pytest.raises(OptionError, match=r"no object has the class 'cta' \(did you mean 'cat'\?\)"):
        repair(found, tmp_path / "out", [root], {"cta": "dog"})


def test_bccd_s_real_faults_are_found(shared):
    found = checkup(shared / "data" / "bccd")
    assert Counter(problem.kind for problem in found.problems) == {"empty": 2, "duplicate-box": 7, "odd-size": 3}
    assert {p.file.stem[-5:] for p in found.of_kind("empty")} == {"00338", "00343"}
    assert {p.file.stem[-5:] for p in found.of_kind("odd-size")} == {"00113", "00133", "00135"}


@pytest.fixture
def run():
    import typer
    from typer.testing import CliRunner

    from edgessd.cli.doctor import doctor

    app = typer.Typer()
    app.command()(doctor)

    def call(*arguments):
        return CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(each) for each in arguments])

    return call


def test_the_command_reports_draws_and_fixes(make, tmp_path, run):
    pytest.importorskip("matplotlib")
    root = make.voc(FAULTY, "data")
    out = tmp_path / "out"
    files = [tmp_path / name for name in ("sheet.png", "plots.png", "report.json")]
    result = run(
        "--data", root, "--priors", "ssd300-paper", "--fix", out, "--rename", "Cat=cat",
        "--sheet", files[0], "--plots", files[1], "--json", files[2],
    )  # fmt: skip
    assert result.exception is None, result.output
    assert "boxes without area" in result.output
    assert "1 x object renamed" in result.output
    assert all(path.stat().st_size > 1000 for path in files)
    report = json.loads(files[2].read_text())
    assert report["counts"]["inverted"] == 1
    assert report["priors"]["proposal"]["maps"][0] == [38, 38]
    assert len(list((out / "Annotations").iterdir())) == 2


def test_a_set_of_broken_pictures_is_still_reported(make, run, tmp_path):
    root = make.voc({"a": [FINE]})
    (root / "JPEGImages/a.png").write_bytes(b"x")
    result = run(
        "--data",
        root,
        "--priors",
        "ssd300-paper",
        "--plots",
        tmp_path / "p.png",
        "--fix",
        tmp_path.parent / f"{tmp_path.name}-out",
    )
    assert result.exception is None, result.output
    assert "broken or truncated" in result.output
    assert "no histograms" in result.output
    assert "wrote 0 pictures" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--priors", "nonsense"], "unknown table of priors"),
        (["--rename", "a=b"], "--fix"),
        (["--rename", "ab", "--fix", "x"], "not OLD=NEW"),
        (["--sheet", "nowhere/a.png"], "no folder"),
        (["--split", "tarin"], "did you mean 'train'"),
    ],
)
def test_mistakes_at_the_command_line(make, run, arguments, message):
    result = (
        run("--data", make.voc({"a": [FINE]}), "--priors", "ssd300-paper", *arguments)
        if ("--priors" not in arguments)
        else run("--data", make.voc({"a": [FINE]}), *arguments)
    )
    assert message in str(result.exception)

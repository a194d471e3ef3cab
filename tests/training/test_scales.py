import math

import msgspec
import pytest
import torch

from edgessd.errors import OptionError
from edgessd.models import create_model, load_checkpoint
from edgessd.ops.priors import SSD300_MAPS, caffe_priors, prior_boxes
from edgessd.training import make_config, train
from edgessd.training.data import Batches
from edgessd.training.objective import Objective
from edgessd.training.scales import SizeChoice, _level, parse_sizes, priors_of_sizes
from edgessd.training.state import load_state

SIZES = "160,192,256"


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("320", (320,)),
        ("384,256,320,256", (256, 320, 384)),
        ("300,512", (300, 512)),
        ("256-384", (256, 288, 320, 352, 384)),
        ("320-320", (320,)),
    ],
)
def test_sizes(text, sizes):
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a list of sizes"),
        ("big", "a list of sizes"),
        ("256,", "a list of sizes"),
        ("256-320-384", "a list of sizes"),
        ("100,256", "160 to 8192"),
        ("250-320", "multiple of 32"),
        ("384-256", "multiple of 32"),
    ],
)
def test_what_is_no_size(text, message):
    with pytest.raises(OptionError, match=message):
        parse_sizes(text)


def test_priors_are_those_of_the_networks_maps(start):
    model, spec = load_checkpoint(start)
    tables = priors_of_sizes(model, spec, parse_sizes(SIZES))
    assert set(tables) == {(160, 160), (192, 192), (256, 256)}
    assert tables[160, 160] is spec.priors
    for (height, width), priors in tables.items():
        rows = model(torch.zeros(1, 3, height, width))[0].shape[1]
        assert len(prior_boxes(priors)) == rows
        assert [level.boxes for level in priors.levels] == [level.boxes for level in spec.priors.levels]


def test_a_stride_in_pixels_stays_one_and_an_even_grid_stays_even():
    levels = caffe_priors(300).levels
    assert (levels[0].step[0], levels[-1].step[0]) == (8 / 300, 1.0)  # 38 cells of 8 pixels are 304; one cell of 300
    first = _level(levels[0], 40, 40, 300, 320)
    last = _level(levels[-1], 2, 2, 300, 320)
    assert first.step == pytest.approx((8 / 320, 8 / 320))
    assert last.step == (0.5, 0.5)
    same = [_level(level, *size, 300, 300) for level, size in zip(levels, SSD300_MAPS, strict=True)]
    for before, after in zip(levels, same, strict=True):
        assert after.step == pytest.approx(before.step, abs=1e-9)


def test_sizes_that_the_network_does_not_take():
    model, spec = create_model("ssd300_vgg16", classes=("a",), receptive_fields=False)
    with pytest.raises(OptionError, match=r"multi_scale 160: the network does not accept .*leave this size out"):
        priors_of_sizes(model, spec, (160, 300))
    wide = msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, width=400))
    with pytest.raises(OptionError, match="square input, not 400x300"):
        priors_of_sizes(model, wide, (300,))


def test_every_process_and_every_resumed_run_draws_the_same_sizes():
    choice = SizeChoice((1, 2, 3), seed=5)
    drawn = [choice(epoch, step) for epoch in range(4) for step in range(50)]
    assert {1, 2, 3} == set(drawn)
    assert min(drawn.count(size) for size in (1, 2, 3)) > 40
    assert drawn != [SizeChoice((1, 2, 3), seed=6)(epoch, step) for epoch in range(4) for step in range(50)]
    whole, first, second, rest = (
        [keys[0].size for keys in Batches(64, 2, 0, 1, sizes=choice, **place)]
        for place in ({"world": 2}, {"rank": 0, "world": 2}, {"rank": 1, "world": 2}, {"start": 3, "world": 2})
    )
    assert whole == first == second
    assert whole[3:] == rest


def test_off_by_default(voc, start, tmp_path):
    assert make_config(data=str(voc), out=str(tmp_path)).sizes == ()
    assert [key.size for keys in Batches(8, 4, 0, 0) for key in keys] == [0] * 8


def test_each_batch_has_one_size_and_the_saved_network_the_main_one(make_voc, start, tmp_path, monkeypatch):
    voc = make_voc(tmp_path / "data", 16)
    seen = []

    def look(self, batch):
        seen.append(tuple(batch.images.shape[2:]))
        return match(self, batch)

    match = Objective.match
    monkeypatch.setattr(Objective, "match", look)
    run = make_config(
        data=str(voc), out=str(tmp_path / "run"), init=str(start), split="train", val_split="val", epochs=3,
        batch_size=4, workers=0, progress=False, multi_scale=SIZES,
    )  # fmt: skip
    result = train(run, say=lambda line: None)
    assert len(seen) == 12
    assert set(seen) == {(160, 160), (192, 192), (256, 256)}
    assert all(math.isfinite(row["loss"]) for row in result.history)
    model, spec = load_checkpoint(result.last)
    assert (spec.input.width, spec.input.height) == (160, 160)
    assert spec.priors == load_checkpoint(start)[1].priors
    assert model(torch.zeros(1, 3, 160, 160))[0].shape[1] == spec.priors.count
    assert load_state(tmp_path / "run").config.multi_scale == SIZES


def test_a_teacher_is_refused():
    with pytest.raises(OptionError, match="leave multi_scale out"):
        make_config(data="d", out="o", teacher="t.safetensors", multi_scale="256-384")

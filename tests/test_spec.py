import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgessd.errors import EdgeSSDError, SpecError
from edgessd.ops.priors import caffe_priors, explicit_priors
from edgessd.spec import (
    OUTPUT_NAMES,
    ArchitectureSpec,
    CoderSpec,
    ExtraLayer,
    InputSpec,
    ModelSpec,
    OutputSpec,
    PriorLevel,
    PriorSpec,
    Provenance,
    QuantizationSpec,
    Thresholds,
)

SPEC = ModelSpec(
    name="test",
    input=InputSpec(
        width=300,
        height=200,
        dtype="uint8",
        mean=(128, 128, 128),
        scale=(127.5,) * 3,
        quantization_scale=1 / 127.5,
        quantization_zero_point=128,
    ),
    classes=("cat", "dog"),
    priors=caffe_priors(300),
    scores="softmax",
    defaults=Thresholds(score_threshold=0.5),
    architecture=ArchitectureSpec(
        backbone="timm:x",
        head="ssd",
        backbone_options={"out_strides": (8, 16)},
        extras=(ExtraLayer(hidden=1, channels=2),),
    ),
    quantization=QuantizationSpec(method="ptq", tool="t", calibration_images=3),
    provenance=Provenance(metrics={"coco/AP": 30.0}),
)


def test_json_round_trip():
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC
    assert ModelSpec.from_json(SPEC.to_json().encode()) == SPEC
    assert json.loads(SPEC.to_json())["schema"] == 1


def test_category_ids_are_a_field_only_where_there_are_some():
    assert "category_ids" not in json.loads(SPEC.to_json())
    for ids in ((17, 18), (0, 1), (2**53 - 1, -5)):
        spec = msgspec.structs.replace(SPEC, category_ids=ids)
        assert ModelSpec.from_json(spec.to_json()) == spec
        assert json.loads(spec.to_json())["category_ids"] == list(ids)


@pytest.mark.parametrize("ids", [[], [1], [1, 1], [1, 2, 3], [1, 2.5], ["1", "2"], [1, 2**53], {}])
def test_category_ids_are_one_number_for_each_class(ids):
    document = json.loads(SPEC.to_json()) | {"category_ids": ids}
    with pytest.raises(SpecError, match="category_ids"):
        ModelSpec.from_json(json.dumps(document))


def parts(value):
    """Every struct inside a spec, itself included."""
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from parts(getattr(value, name))
    elif isinstance(value, tuple):
        for each in value:
            yield from parts(each)


def test_every_part_has_a_hash_and_equal_ones_the_same():
    full = msgspec.structs.replace(SPEC, category_ids=(17, 18), output=OutputSpec(level="nms"))
    again = ModelSpec.from_json(full.to_json())
    assert {type(each) for each in parts(full)} == {
        *(ModelSpec, InputSpec, PriorSpec, PriorLevel, CoderSpec, OutputSpec, Thresholds, QuantizationSpec),
        *(Provenance, ArchitectureSpec, ExtraLayer),
    }
    for one, other in zip(parts(full), parts(again), strict=True):
        assert one == other and hash(one) == hash(other)
        assert len({one, other}) == 1
    assert len({full, again, SPEC, msgspec.structs.replace(SPEC, provenance=Provenance())}) == 3


def test_the_order_of_options_does_not_change_the_hash():
    options = {"out_strides": (8, 16), "pad": "same"}
    one = ArchitectureSpec(backbone="x", head="ssd", backbone_options=options)
    other = ArchitectureSpec(backbone="x", head="ssd", backbone_options=dict(reversed(options.items())))
    assert one == other and hash(one) == hash(other)
    hash(ArchitectureSpec(backbone="x", head="ssd", backbone_options={"out_strides": [8, 16]}))


def test_logits_have_a_background_column_for_softmax_only():
    assert SPEC.num_logits == 3
    assert msgspec.structs.replace(SPEC, scores="sigmoid").num_logits == 2


def changed(path, value):
    document = json.loads(SPEC.to_json())
    *parents, last = path.split(".")
    place = document
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "schema"),
        (b"\xff\xfe", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        (changed("schema", 2), "upgrade edgessd"),
        (changed("schema", 0), "export the model again"),
        (changed("schema", "1"), "schema"),
        (changed("surprise", 1), "unknown field `surprise`"),
        (changed("input.surprise", 1), r"\$\.input"),
        (changed("input", ...), "input"),
        (changed("input.width", 0), r"\$\.input\.width"),
        (changed("input.width", 10**9), r"\$\.input\.width"),
        (changed("input.width", "300"), r"\$\.input\.width"),
        (changed("input.scale", [1, 0, 1]), "scale must not be 0"),
        (changed("input.quantization_scale", None), "belong together"),
        (changed("input.dtype", "float32"), "has no quantization scale"),
        (changed("input.dtype", "float64"), r"\$\.input\.dtype"),
        (changed("classes", []), r"\$\.classes"),
        (changed("classes", ["a", "a"]), "differ"),
        (changed("classes", ["a", ""]), r"\$\.classes"),
        (changed("priors.levels", []), r"\$\.priors\.levels"),
        (changed("priors.levels.0.rows", 8000), "priors"),
        (changed("priors.levels.0.boxes", [[0, 1]]), r"boxes"),
        (changed("priors.levels.0.boxes", [[1e300, 1e999]]), "cannot be read"),
        (changed("coder.center_variance", -1), r"\$\.coder"),
        (changed("defaults.score_threshold", 1.5), r"\$\.defaults\.score_threshold"),
        (changed("scores", "tanh"), r"\$\.scores"),
        (changed("precision", "int4"), r"\$\.precision"),
        (changed("schema", 10**30), "cannot be read"),
        ('{"schema": ' + "9" * 6000 + "}", "cannot be read"),
        ("[" + "0," * 5_000_000 + "0]", "10,000,003 bytes"),
        (changed("name", ""), r"\$\.name"),
        (changed("name", "x" * 201), r"\$\.name"),
        (changed("name", "a\x1b[2J"), r"name must be printable text, not 'a\?\[2J'"),
        (changed("classes", ["a", "b\n"]), "classes must be printable"),
        (changed("classes", ["a", "b\u202e"]), "classes must be printable"),
        (changed("classes", [str(n) for n in range(40_000)]), r"\$\.classes"),
        (changed("a\x1b[2Jb", 1), r"unknown field `a\?\[2Jb`"),
        (changed("input.mean", [1e300, 0, 0]), r"mean must be a number below.*\$\.input"),
        (changed("input.scale", [1e-30, 1, 1]), "scale must not be 0"),
        (changed("input.quantization_scale", 1e-30), r"\$\.input\.quantization_scale"),
        (changed("priors.levels.0.boxes", [[1e-300, 0.1]]), r"boxes"),
        (changed("priors.levels.0.step", [1e30, 0.1]), r"step"),
        (changed("coder.size_variance", 1e30), r"\$\.coder\.size_variance"),
        (changed("provenance.metrics", {"a\x07": 1.0}), "metrics must be printable"),
        (changed("provenance.metrics", {str(n): 1.0 for n in range(1001)}), r"\$\.provenance\.metrics"),
        (changed("architecture.backbone", "\x9b"), r"printable.*\$\.architecture"),
        (changed("architecture.backbone_options", {"a": [10**10]}), "must be a number below"),
        (changed("output", {"level": "final"}), r"\$\.output\.level"),
        (changed("output", {"level": "nms", "names": ["a", "b"]}), "level nms has 4 outputs"),
        (changed("output", {"names": ["a"]}), "level raw has 2 outputs"),
        (changed("output", {"names": ["a", "a"]}), "differ from each other"),
        (changed("output", {"names": ["a", ""]}), r"\$\.output\.names"),
        (changed("output", {"names": ["a"] * 100}), r"\$\.output\.names"),
    ],
)
def test_anything_else_is_refused_with_its_path(data, message):
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_json(data)


def test_integer_inputs_need_a_scale():
    with pytest.raises(ValueError, match="needs a quantization scale"):
        InputSpec(width=1, height=1, dtype="int8")


def test_more_priors_than_fit_in_memory_are_refused():
    level = PriorLevel(rows=1000, columns=1000, boxes=((0.1, 0.1),) * 3)
    with pytest.raises(ValueError, match="3000000 priors"):
        PriorSpec(levels=(level,))


def test_numpy_lists_make_plain_floats():
    assert ModelSpec.from_json(
        msgspec.structs.replace(SPEC, priors=explicit_priors([(1, 1)], [[(0.5, 0.25)]])).to_json()
    ).priors.levels[0].boxes == ((0.5, 0.25),)


def test_the_names_of_outputs_are_the_usual_ones_of_the_level():
    for level, names in OUTPUT_NAMES.items():
        assert OutputSpec(level=level).names == names
        assert ModelSpec.from_json(changed("output", {"level": level})).output == OutputSpec(level=level)
    assert OutputSpec(level="decoded", names=("x", "y")).names == ("x", "y")


def test_messages_about_a_strangers_spec_stay_short():
    with pytest.raises(SpecError) as caught:
        ModelSpec.from_json(changed("x" * 100_000, 1))
    assert len(str(caught.value)) < 500


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_our_errors(data):
    with pytest.raises(EdgeSSDError):
        ModelSpec.from_json(data)


TEXT = SPEC.to_json()


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 6), st.text(max_size=6))
def test_damaged_specs_raise_only_our_errors(position, length, replacement):
    with contextlib.suppress(EdgeSSDError):
        ModelSpec.from_json(TEXT[:position] + replacement + TEXT[position + length :])

"""Decode and suppression as source code (`edgessd bundle --target c`, `--target android`) against ops.postprocess."""

import shutil
import subprocess

import msgspec
import numpy as np
import pytest

from edgessd import zoo
from edgessd.apps.bundle import code, literals, write_android, write_c
from edgessd.cli.bundle import Target
from edgessd.cli.bundle import bundle as command
from edgessd.detector import Detector
from edgessd.errors import InputError, ModelError, OptionError
from edgessd.io.images import load_image
from edgessd.model_file import read_outputs, read_spec
from edgessd.ops.preprocess import preprocess
from edgessd.ops.priors import explicit_priors

from .code_cases import (
    STRICT,
    Case,
    answers,
    c_program,
    compile_java,
    differences,
    facts,
    hostile_cases,
    java_program,
    random_case,
    random_spec,
)


def needs(*programs):
    missing = [each for each in programs if shutil.which(each) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


gcc, clang, arm, java = needs("gcc"), needs("clang"), needs("arm-none-eabi-gcc"), needs("javac", "java")
SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
BOXES = 1e-4  # pixels
REAL_STEP = 10  # every tenth of 7,800 real pictures; with 1 it takes minutes
NAMES = ('say "hi"', "back\\slash", "??/ trigraph ??=", "Blässhuhn", "\N{CAT FACE}", "%s %n", "*/ // */", "0", "7up\\")


def hold(spec, cases, found):
    wrong, total, boxes, scores = differences(spec, cases, found)
    assert not wrong, f"{len(wrong)} of {len(cases)} in another order, the first is number {wrong[0]}"
    assert boxes <= BOXES
    assert scores <= 1e-6
    return total


def of_kind(scores, seed, **more):
    rng = np.random.default_rng(seed)
    spec = msgspec.structs.replace(random_spec(rng), scores=scores, **more)
    return spec, [random_case(spec, rng) for _ in range(150)]


@gcc
@pytest.mark.parametrize("scores", ["sigmoid", "softmax"])
def test_c_is_postprocess(scores, tmp_path):
    spec, cases = of_kind(scores, 3, classes=("a", "b", "c", "d"))
    assert hold(spec, cases, answers([c_program(tmp_path / "c", spec)], cases)) > 500


def outputs_of(detector, tensors, picture):
    """Raw outputs of a picture: float32, and integers where the file has them."""
    raw = detector.runtime.run(preprocess(picture, detector.spec.input)[None])
    float_case = Case(raw.logits[0], raw.offsets[0], (picture.shape[1], picture.shape[0]), detector.spec.defaults)
    if tensors[0].dtype == "float32":
        return [float_case]
    scales = tuple((each.scale, each.zero_point) for each in tensors)
    integers = [
        np.round(values / np.float32(scale) + zero).astype(np.int8)
        for values, (scale, zero) in zip((raw.logits[0], raw.offsets[0]), scales, strict=True)
    ]
    return [float_case, Case(*integers, float_case.size, float_case.limits, scales)]


def photo_cases(model, photos):
    detector, outputs = Detector.load(model), read_outputs(zoo.resolve_model(model))[2]
    return [case for photo in photos for case in outputs_of(detector, outputs, load_image(photo))]


@gcc
@pytest.mark.parametrize("model", [zoo.DEFAULT_MODEL, f"{zoo.DEFAULT_MODEL}.tflite"])
def test_the_printed_detections_of_the_bundled_photos_are_those_of_detect(model, tmp_path):
    if model.endswith("tflite"):
        pytest.importorskip("ai_edge_litert")
    folder = tmp_path / "c"
    assert {path.name for path in write_c([model], folder)} == {*code.C_FILES, "edgessd_model.h", "README.md"}
    program = tmp_path / "main"
    subprocess.run(["gcc", *STRICT, "-O1", "-o", program, folder / "main.c", folder / "edgessd.c", "-lm"], check=True)
    spec = read_spec(zoo.resolve_model(model))
    for case in photo_cases(model, zoo.photos()):
        (tmp_path / "logits").write_bytes(case.logits.tobytes())
        (tmp_path / "offsets").write_bytes(case.offsets.tobytes())
        done = subprocess.run(
            [program, "logits", "offsets", *map(str, case.size)], cwd=tmp_path, capture_output=True, text=True
        )
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        known = case.expected(spec)
        assert len(lines) == len(known.labels) > 0
        assert [(int(line[0]), line[1]) for line in lines] == [(k, spec.classes[k]) for k in known.labels]
        numbers = np.array([line[2:] for line in lines], np.float64)
        np.testing.assert_allclose(numbers, np.column_stack([known.scores, known.boxes]), rtol=0, atol=BOXES)


@gcc
def test_main_refuses_and_names_come_through(tmp_path):
    spec = msgspec.structs.replace(
        of_kind("sigmoid", 1)[0], classes=NAMES, priors=explicit_priors([(3, 3)], [[(1, 1)]])
    )
    spec = msgspec.structs.replace(spec, defaults=msgspec.structs.replace(spec.defaults, max_detections=9))
    program = c_program(tmp_path / "c", spec, main="main.c")
    (tmp_path / "logits").write_bytes((np.eye(9) * 20 - 10).astype("<f4").tobytes())
    (tmp_path / "offsets").write_bytes(bytes(4 * 36))

    def run(*arguments):
        return subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True)

    good = ["logits", "offsets", "640", "480"]
    lines = run(*good).stdout.decode().splitlines()
    assert sorted(line.split("\t")[1] for line in lines) == sorted(NAMES)
    assert run(*good, "1").stdout == b""  # no score is above 1
    for bad in (good[:3], ["logits", "offsets", "0", "480"], [*good, "1.5"], [*good, "nan"], [*good, "0.5", "-1"]):
        done = run(*bad)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.decode().count("\n") == 1
    for bad in ("missing", "offsets"):
        assert b"is no file of 81 values" in run(bad, *good[1:]).stderr


def test_the_c_file_is_short_and_allocates_nothing():
    text = (code.HERE / "c" / "edgessd.c").read_text()
    assert text.count("\n") <= 300
    assert max(map(len, text.splitlines())) <= 120
    assert not any(word in text for word in ("alloc", "free(", "qsort", "stdlib"))


def test_refusals(tmp_path, make_onnx):
    coco = zoo.DEFAULT_MODEL
    final = tmp_path / "nms.onnx"
    final.write_bytes(make_onnx.onnx_graph("nms").SerializeToString())
    with pytest.raises(OptionError, match="one model, not 2"):
        write_c([coco, coco], tmp_path / "new")
    with pytest.raises(ModelError, match=r"level nms, the code begins at level raw: .*--level raw"):
        write_c([final], tmp_path / "new")
    with pytest.raises(ModelError, match=r"not a TFLite file: .* -o nms\.tflite"):
        write_android([final], tmp_path / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(InputError, match="already there"):
        write_c([coco], tmp_path / "full")
    assert not (tmp_path / "new").exists()
    for target in (Target.c, Target.android):
        with pytest.raises(OptionError, match="--screen are for --target device"):
            command([coco], tmp_path / "new", target=target, screen=True)
        with pytest.raises(OptionError, match="--ort and --mediapipe are for --target web"):
            command([coco], tmp_path / "new", target=target, ort=final)


def test_checkpoints_are_refused(tmp_path):
    checkpoint = tmp_path / "best.safetensors"
    checkpoint.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(ModelError, match="export the checkpoint"):
        write_c([checkpoint], tmp_path / "new")


def test_an_app_gets_the_tflite_file(tmp_path, capsys):
    pytest.importorskip("ai_edge_litert")
    command([zoo.DEFAULT_MODEL], tmp_path / "app", target=Target.android)
    assert "app/src/main" in capsys.readouterr().out
    model = tmp_path / "app" / "assets" / "model.tflite"
    assert model.read_bytes() == zoo.resolve_model(f"{zoo.DEFAULT_MODEL}.tflite").read_bytes()
    readme = (tmp_path / "app" / "README.md").read_text()
    assert "decoder.detect(outputs[0].readInt8(), outputs[1].readInt8(), bitmap.width, bitmap.height)" in readme


def test_literals():
    assert [literals.double(each) for each in (1, 0.1, 1e-9)] == ["1.0", "0.1", "1e-09"]
    assert [literals.single(each) for each in (1, 0.1, 1e-9, 3)] == ["1.0f", "0.1f", "1e-09f", "3.0f"]
    assert literals.c_text('a"\\?ä1') == '"a\\"\\\\\\?\\303\\2441"'
    assert literals.java_text('a"\\\n\N{CAT FACE}') == '"a\\"\\\\\\n\\ud83d\\udc31"'


# What follows takes longer.


@gcc
@pytest.mark.slow
def test_ten_thousand_random_outputs(tmp_path):
    rng, total = np.random.default_rng(22), 0
    for number in range(40):
        spec = random_spec(rng, number)
        cases = [random_case(spec, rng) for _ in range(250)]
        total += hold(spec, cases, answers([c_program(tmp_path / str(number), spec)], cases))
    assert total > 100_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "options"),
    [
        pytest.param("gcc", SANITIZERS, marks=gcc),
        pytest.param("gcc", ("-O3", "-march=native", "-Wconversion", "-Wno-sign-conversion"), marks=gcc),
        pytest.param("clang", ("-O2", "-march=native"), marks=clang),
    ],
)
def test_other_compilers_and_hostile_outputs(compiler, options, tmp_path):
    rng = np.random.default_rng(23)
    for number in range(12):
        spec = random_spec(rng, number)
        cases = [random_case(spec, rng) for _ in range(60)] + hostile_cases(spec, rng, 40)
        hold(spec, cases, answers([c_program(tmp_path / str(number), spec, compiler=compiler, options=options)], cases))


@java
@pytest.mark.slow
def test_java_is_postprocess(tmp_path):
    rng = np.random.default_rng(24)
    for number in range(12):
        spec = random_spec(rng, number)
        cases = [random_case(spec, rng) for _ in range(300)] + hostile_cases(spec, rng, 40)
        cases = [case for case in cases if case.logits.dtype in (np.float32, np.int8)]
        hold(spec, cases, answers([*java_program(tmp_path / str(number), spec), "Cases"], cases))


@java
@pytest.mark.slow
def test_java_prints_the_detections_of_the_photos(tmp_path):
    pytest.importorskip("ai_edge_litert")
    model = f"{zoo.DEFAULT_MODEL}.tflite"
    write_android([model], tmp_path / "app")
    program = compile_java(tmp_path / "app", [])
    spec = read_spec(zoo.resolve_model(model))
    for case in photo_cases(model, zoo.photos()):
        (tmp_path / "logits").write_bytes(case.logits.tobytes())
        (tmp_path / "offsets").write_bytes(case.offsets.tobytes())
        done = subprocess.run(
            [*program, "edgessd.Main", "logits", "offsets", *map(str, case.size)], cwd=tmp_path, capture_output=True
        )
        lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
        known = case.expected(spec)
        assert [int(line[0]) for line in lines] == known.labels.tolist()
        numbers = np.array([line[2:] for line in lines], np.float64)
        np.testing.assert_allclose(numbers, np.column_stack([known.scores, known.boxes]), rtol=0, atol=BOXES)


@java
@pytest.mark.slow
def test_java_takes_the_largest_spec_and_any_name(tmp_path):
    """A method of a class file has at most 64 KB, and so has a string."""
    many = [[(0.001 * n, 0.5) for n in range(1, 257)]] * 64
    names = (*NAMES, *(f"name {n} \N{CAT FACE}" for n in range(32_000)))
    spec = msgspec.structs.replace(of_kind("sigmoid", 1)[0], classes=names, priors=explicit_priors([(1, 1)] * 64, many))
    source = tmp_path / "java" / "edgessd"
    source.mkdir(parents=True)
    (source / "SsdModel.java").write_text(code.java_tables(spec, facts()), encoding="utf-8")
    main = tmp_path / "Names.java"
    main.write_text(
        "public final class Names {\n    public static void main(String[] arguments) throws Exception {\n"
        '        System.out.write(String.join("\\n", edgessd.SsdModel.CLASSES).getBytes("UTF-8"));\n'
        "        System.out.flush();\n    }\n}\n"
    )
    printed = subprocess.run([*compile_java(tmp_path, [main]), "Names"], capture_output=True, check=True).stdout
    assert tuple(printed.decode().split("\n")) == names


@arm
@pytest.mark.slow
@pytest.mark.parametrize("processor", ["cortex-m0plus", "cortex-m4", "cortex-m7"])
def test_a_microcontrollers_compiler_takes_it(processor, tmp_path):
    folder = tmp_path / "c"
    write_c([zoo.DEFAULT_MODEL], folder)
    options = [*STRICT, "-Os", "-mthumb", f"-mcpu={processor}"]
    subprocess.run(["arm-none-eabi-gcc", *options, "-c", "-o", "e.o", "edgessd.c"], cwd=folder, check=True)
    sizes = subprocess.run(["arm-none-eabi-size", "e.o"], cwd=folder, capture_output=True, text=True, check=True)
    text, data, zeroed = map(int, sizes.stdout.splitlines()[1].split()[:3])
    assert (data, zeroed) == (0, 0)  # no state of its own, and its tables are in flash
    assert text < 5000
    symbols = subprocess.run(["arm-none-eabi-nm", "-u", "e.o"], cwd=folder, capture_output=True, text=True).stdout
    assert "alloc" not in symbols


@gcc
@pytest.mark.slow
@pytest.mark.parametrize("model", [zoo.DEFAULT_MODEL, f"{zoo.DEFAULT_MODEL}.tflite"])
def test_real_outputs(model, shared, tmp_path):
    if model.endswith("tflite"):
        pytest.importorskip("ai_edge_litert")
    spec = read_spec(zoo.resolve_model(model))
    pictures = [each for kind in ("jpg", "webp") for each in sorted((shared / "data").glob(f"*/*/*.{kind}"))]
    photos = [*zoo.photos(), *pictures[::REAL_STEP]]
    program, total = c_program(tmp_path / "c", spec), 0
    for start in range(0, len(photos), 100):
        cases = photo_cases(model, photos[start : start + 100])
        total += hold(spec, cases, answers([program], cases))
        for case in cases:
            case.limits = msgspec.structs.replace(spec.defaults, score_threshold=0.05)
        hold(spec, cases, answers([program], cases))
    assert total > len(photos)

"""The folder of `edgessd bundle --target web`; test_web_page.py opens it in a browser."""

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import numpy as np
import pytest

from edgessd import zoo
from edgessd.apps.bundle import npm, write_page
from edgessd.apps.bundle import page as module
from edgessd.cli.bundle import Target
from edgessd.cli.bundle import bundle as command
from edgessd.detector import Detector
from edgessd.errors import DependencyError, DownloadError, InputError, ModelError, OptionError, SpecError
from edgessd.export import final
from edgessd.model_file import read_spec
from edgessd.ops.preprocess import value_table
from edgessd.spec import InputSpec
from edgessd.validation import validate


def tarball(path, package, *, without=(), links=()):
    """A stand-in for a package of npm: its files with a line of text in each."""
    with tarfile.open(path, "w:gz") as archive:
        for name in ("package.json", *package.files, "../../escaped.txt"):
            if name in without:
                continue
            data = b'{"version": "9.8.7"}' if name == "package.json" else f"text of {name}".encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            if name in links:
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def ort(tmp_path_factory):
    return tarball(tmp_path_factory.mktemp("npm") / "ort.tgz", npm.ONNXRUNTIME)


@pytest.fixture(scope="module")
def mediapipe(tmp_path_factory):
    return tarball(tmp_path_factory.mktemp("npm") / "mediapipe.tgz", npm.MEDIAPIPE)


@pytest.fixture
def tiny(make_onnx, tmp_path):
    """A tiny ONNX file of level nms."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(make_onnx.onnx_graph("nms").SerializeToString())
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory, ort, mediapipe):
    """Both pages over the bundled models, of level raw."""
    pytest.importorskip("onnx")
    pytest.importorskip("ai_edge_litert")
    folder = tmp_path_factory.mktemp("pages") / "page"
    models = [zoo.DEFAULT_MODEL, f"{zoo.DEFAULT_MODEL}.tflite"]
    write_page(models, folder, ort=ort, mediapipe=mediapipe)
    return folder


def test_everything_is_there(pages):
    names = sorted(path.relative_to(pages).as_posix() for path in pages.rglob("*") if path.is_file())
    assert names == sorted([
        *("README.md", "file.js", "index.html", "mediapipe.html", "mediapipe.js", "mediapipe.json", "model.json"),
        *("model.onnx", "model.tflite", "onnx.js", "page.js", "preprocess.js", "style.css"),
        *(f"ort/{name.rpartition('/')[2]}" for name in npm.ONNXRUNTIME.files),
        *(f"mediapipe/{name.rpartition('/')[2]}" for name in npm.MEDIAPIPE.files),
    ])  # fmt: skip
    readme = (pages / "README.md").read_text()
    assert "[onnxruntime-web](https://github.com/microsoft/onnxruntime) 9.8.7 | MIT |" in readme
    assert "[@mediapipe/tasks-vision](https://github.com/google-ai-edge/mediapipe) 9.8.7 | Apache-2.0 |" in readme
    assert (pages / "ort" / "ort.wasm.min.mjs").read_text() == "text of dist/ort.wasm.min.mjs"
    assert 'src="onnx.js"' in (pages / "index.html").read_text()
    assert 'src="mediapipe.js"' in (pages / "mediapipe.html").read_text()


def test_nothing_is_loaded_from_elsewhere(pages):
    for path in (*pages.glob("*.html"), *pages.glob("*.js"), *pages.glob("*.css")):
        addresses = re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"']*", path.read_text())
        assert addresses == [], path.name
    assert "default-src 'self'" in (pages / "index.html").read_text()


def test_the_page_is_told_what_the_spec_says(pages, tiny, ort, tmp_path):
    spec = read_spec(pages / "model.onnx")
    told = json.loads((pages / "model.json").read_text())
    assert (told["classes"], told["score_threshold"]) == (list(spec.classes), spec.defaults.score_threshold)
    assert told["outputs"] == ["boxes", "scores", "labels", "count"]
    assert told["input"]["shape"] == [1, 300, 300, 3]
    assert told["input"]["table"] is None  # the picture's bytes as they are
    assert told["other"] == ["mediapipe.html", "MediaPipe"]
    write_page([tiny], tmp_path / "one", ort=ort)
    told = json.loads((tmp_path / "one" / "model.json").read_text())
    assert told["other"] is None
    assert np.array_equal(np.array(told["input"]["table"], np.float32), value_table(read_spec(tiny).input))
    assert not (tmp_path / "one" / "mediapipe.html").exists()
    assert (tmp_path / "one" / "model.onnx").read_bytes() == tiny.read_bytes()


@pytest.mark.parametrize(("file", "model"), [("model.onnx", ""), ("model.tflite", ".tflite")])
def test_raw_models_get_their_postprocessing_into_the_graph(pages, file, model):
    assert [check.text for check in validate(pages / file) if check.passed is False] == []
    plain, final = Detector.load(f"{zoo.DEFAULT_MODEL}{model}", threads=1), Detector.load(pages / file, threads=1)
    for photo in zoo.photos():
        expected, found = plain(photo), final(photo)
        assert len(expected) > 0
        assert found.names == expected.names
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)


def test_the_package_that_is_missing_is_named(tmp_path, tiny, ort, monkeypatch):
    monkeypatch.setattr(final, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"ai-edge-litert is not installed: pip install 'edgessd\[browser\]'"):
        write_page([tiny, f"{zoo.DEFAULT_MODEL}.tflite"], tmp_path / "out", ort=ort)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DependencyError, match=r"onnx is not installed: pip install 'edgessd\[browser\]'"):
        write_page([zoo.DEFAULT_MODEL], tmp_path / "out", ort=ort)
    assert not (tmp_path / "out").exists()


def test_torch_is_not_needed(tmp_path, ort, mediapipe):
    pytest.importorskip("onnx")
    pytest.importorskip("ai_edge_litert")
    code = (
        "import sys; from pathlib import Path; sys.modules['torch'] = None; from edgessd.apps.bundle import write_page;"
        "write_page(['edgessd-coco', 'edgessd-coco.tflite'], *map(Path, sys.argv[1:2]),"
        "ort=Path(sys.argv[2]), mediapipe=Path(sys.argv[3]))"
    )
    line = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "out"), str(ort), str(mediapipe)]
    subprocess.run(line, check=True, timeout=60)


def test_models_that_no_page_can_be_made_of(tmp_path, tiny, ort, make_onnx, request):
    tflite = request.path.parents[2] / "data" / "tiny_nms.tflite"
    (tmp_path / "a.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}" + b" " * 20)
    area = tmp_path / "area.onnx"
    spec = make_onnx.level_spec("nms")
    spec = msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, interpolation="area"))
    area.write_bytes(make_onnx.onnx_graph("nms", spec).SerializeToString())
    stranger = tmp_path / "stranger.onnx"
    stranger.write_bytes(make_onnx.onnx_graph("nms", names={}).SerializeToString())
    cases = [
        ([tflite], OptionError, "needs an ONNX model"),
        ([tiny, tiny], OptionError, "one ONNX model, and one TFLite model"),
        ([tmp_path / "a.safetensors"], ModelError, "runs in no browser: export it first, edgessd export"),
        ([area], ModelError, "resized by 'area'"),
        ([stranger], SpecError, "no edgessd spec"),
        (["edgessd-coca"], ModelError, "did you mean 'edgessd-coco'"),
        ([tmp_path / "missing.onnx"], ModelError, "no model file"),
    ]
    before = sorted(tmp_path.iterdir())
    for models, error, part in cases:
        with pytest.raises(error, match=part):
            write_page(models, tmp_path / "out", ort=ort)
    with pytest.raises(OptionError, match="--mediapipe is for a TFLite model"):
        write_page([tiny], tmp_path / "out", ort=ort, mediapipe=ort)
    with pytest.raises(InputError, match="already there"):
        write_page([tiny], tmp_path, ort=ort)
    assert sorted(tmp_path.iterdir()) == before


def test_a_graph_that_cannot_get_it_is_named(tmp_path, ort, make_onnx):
    path = tmp_path / "odd.onnx"
    proto = make_onnx.onnx_graph("raw")
    proto.graph.output[0].name = "offsets"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(SpecError, match=r"odd\.onnx: no detections can be made in its graph: the graph returns"):
        write_page([path], tmp_path / "out", ort=ort)


def test_runtimes_that_are_not_what_they_should_be(tmp_path, tiny):
    (tmp_path / "noise.tgz").write_bytes(b"no tar" * 1000)
    cut = tarball(tmp_path / "cut.tgz", npm.ONNXRUNTIME)
    cut.write_bytes(cut.read_bytes()[:-40])
    lacking = tarball(tmp_path / "lacking.tgz", npm.ONNXRUNTIME, without=("dist/ort.webgpu.min.mjs",))
    linked = tarball(tmp_path / "linked.tgz", npm.ONNXRUNTIME, links=("dist/ort.wasm.min.mjs",))
    (tmp_path / "empty").mkdir()
    way_out = "give the file that `npm pack onnxruntime-web@1.30.0` writes"
    for path, part in [
        (tmp_path / "noise.tgz", "no package of npm"),
        (cut, "no package of npm"),
        (tmp_path / "gone.tgz", "no package of npm: No such file"),
        (lacking, r"has no dist/ort\.webgpu\.min\.mjs"),
        (linked, r"has no dist/ort\.wasm\.min\.mjs"),  # a link is no file of the package
        (tmp_path / "empty", r"has no dist/ort\.wasm\.min\.mjs"),
    ]:
        with pytest.raises(InputError, match=f"{part}.*{way_out}"):
            write_page([tiny], tmp_path / "out", ort=path)
        assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("escaped.txt"))


def test_an_unpacked_package_will_do(tmp_path, tiny, ort):
    with tarfile.open(ort) as archive:
        members = [member for member in archive if ".." not in member.name]
        archive.extractall(tmp_path, members, filter="data")
    write_page([tiny], tmp_path / "out", ort=tmp_path / "package")
    assert (tmp_path / "out" / "ort" / "ort.webgpu.min.mjs").read_text() == "text of dist/ort.webgpu.min.mjs"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry of npm with stand-ins, and the list of what was asked of it."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "registry"))

        def log_message(self, *_):
            asked.append(self.path)

    for package in ("ONNXRUNTIME", "MEDIAPIPE"):
        pinned = getattr(npm, package)
        path = tmp_path / "registry" / pinned.url.removeprefix(f"{npm.REGISTRY}/")
        path.parent.mkdir(parents=True)
        digest = hashlib.sha256(tarball(path, pinned).read_bytes()).hexdigest()
        stand_in = npm.Package(pinned.name, pinned.version, digest, pinned.license, pinned.home, pinned.files)
        monkeypatch.setattr(npm, package, stand_in)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("EDGESSD_NPM_REGISTRY", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("EDGESSD_CACHE", str(tmp_path / "cache"))
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_runtimes_come_from_the_registry_once(tmp_path, tiny, registry, request):
    tflite = request.path.parents[2] / "data" / "tiny_nms.tflite"
    for name in ("first", "second"):
        write_page([tiny, tflite], tmp_path / name)
        assert (tmp_path / name / "mediapipe" / "vision_bundle.mjs").is_file()
    assert registry == [
        "/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
        "/@mediapipe/tasks-vision/-/tasks-vision-1.1.0.tgz",
    ]


def test_another_file_than_the_pinned_one_is_refused(tmp_path, tiny, registry, monkeypatch):
    wrong = npm.Package("onnxruntime-web", "1.30.0", "0" * 64, "MIT", "", npm.ONNXRUNTIME.files)
    monkeypatch.setattr(npm, "ONNXRUNTIME", wrong)
    with pytest.raises(DownloadError, match="SHA-256"):
        write_page([tiny], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_pinned_packages_are_whole():
    for package in (npm.ONNXRUNTIME, npm.MEDIAPIPE):
        assert re.fullmatch("[0-9a-f]{64}", package.sha256)
        assert package.url.startswith("https://registry.npmjs.org/")


def test_a_disk_that_is_full_leaves_nothing(tmp_path, tiny, ort, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.npm, "place", full)
    with pytest.raises(InputError, match="No space left"):
        write_page([tiny], tmp_path / "out", ort=ort)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]


def test_letterbox_and_planes_reach_the_page():
    spec = InputSpec(width=4, height=2, channels="BGR", resize="letterbox", mean=(1, 2, 3), pad_value=7)
    told = module.input_facts(spec)
    assert (told["shape"], told["resize"], told["channels"], told["pad_value"]) == ((1, 3, 2, 4), "letterbox", "BGR", 7)
    assert [column[5] for column in told["table"]] == [4, 3, 2]


def test_the_command(tmp_path, tiny, ort, capsys):
    command([str(tiny)], tmp_path / "out", target=Target.web, ort=ort)
    assert f"python -m http.server -d {tmp_path / 'out'}" in capsys.readouterr().out
    with pytest.raises(OptionError, match="--target device"):
        command([str(tiny)], tmp_path / "more", target=Target.web, extras="web")
    with pytest.raises(OptionError, match="--target web"):
        command([str(tiny)], tmp_path / "more", ort=ort)

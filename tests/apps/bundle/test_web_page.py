"""The pages of `edgessd bundle --target web` in a real Chromium, with the real runtimes.

They need playwright, a chromium and two packages of npm: from the folder $EDGESSD_NPM_PACKAGES, or by `npm pack`.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgessd import zoo
from edgessd._cv2 import cv2
from edgessd.apps.bundle import npm, write_page
from edgessd.apps.bundle.page import input_facts
from edgessd.detector import Detector
from edgessd.ops.boxes import iou_matrix
from edgessd.ops.preprocess import preprocess
from edgessd.spec import InputSpec
from edgessd.zoo.download import cache_folder

pytestmark = pytest.mark.slow
sync_api: Any = pytest.importorskip("playwright.sync_api")
pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LOAD = 90_000  # milliseconds until a page must be ready


def packed(package: npm.Package) -> Path:
    """The tarball of a package; the test is skipped where it cannot be had."""
    name = f"{package.name.replace('@', '').replace('/', '-')}-{package.version}.tgz"
    folder = Path(os.environ.get("EDGESSD_NPM_PACKAGES") or cache_folder())
    if not (folder / name).is_file():
        if shutil.which("npm") is None:
            pytest.skip(f"needs npm, or {name} in the folder $EDGESSD_NPM_PACKAGES")
        folder.mkdir(parents=True, exist_ok=True)
        line = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip(f"npm cannot fetch {package.name}: {done.stderr.strip()[-200:]}")
    return folder / name


class Server:
    """`python -m http.server` in a folder, as the user starts it."""

    def __init__(self, folder: Path) -> None:
        line = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(folder)]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        found = re.search(r"port (\d+)", self.process.stdout.readline())
        assert found
        self.base = f"http://127.0.0.1:{found[1]}"

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("pages") / "page"
    models = [zoo.DEFAULT_MODEL, f"{zoo.DEFAULT_MODEL}.tflite"]
    write_page(models, target, ort=packed(npm.ONNXRUNTIME), mediapipe=packed(npm.MEDIAPIPE))
    return target


@pytest.fixture(scope="module")
def base(folder: Path) -> Iterator[str]:
    server = Server(folder)
    yield server.base
    server.close()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera that moves over the cat."""
    path = tmp_path_factory.mktemp("video") / "cat.mjpeg"
    cat = cv2.imread(str(zoo.photos()[0].parent / "chelsea.png"))
    frames = [cat[:, 51 - abs(51 - step) : 400 + 51 - abs(51 - step)] for step in range(0, 102, 3)]
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    return path


@pytest.fixture(scope="module")
def launch(video: Path) -> Iterator[Callable[..., Any]]:
    """A function that starts a browser with a camera (`shown`, `refused`) or without one."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    options = {
        "shown": ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
        "refused": ["--use-fake-device-for-media-stream"],
        "none": ["--use-fake-ui-for-media-stream"],
    }
    started: dict[str, Any] = {}
    with sync_api.sync_playwright() as playwright:

        def launch_(camera: str = "shown") -> Any:
            if camera not in started:
                arguments = ["--no-sandbox", f"--use-file-for-fake-video-capture={video}", *options[camera]]
                started[camera] = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
            return started[camera]

        yield launch_
        for each in started.values():
            each.close()


@pytest.fixture
def open_page(launch: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """A function that opens a page; exceptions that nobody caught and addresses elsewhere are errors of the test."""
    complaints: list[str] = []
    asked: list[str] = []
    homes = ["data:", "blob:"]
    contexts = []

    def open_(url: str, *, camera: str = "shown", prepare: Any = None, ready: bool = True, **options: Any) -> Any:
        context = launch(camera).new_context(**options)
        contexts.append(context)
        page = context.new_page()
        homes.append("/".join(url.split("/")[:3]))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        if prepare:
            prepare(page)
        page.goto(url)
        if ready:
            page.wait_for_selector("#choose:enabled", timeout=LOAD)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert [address for address in asked if not address.startswith(tuple(homes))] == []


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value


def rows(page: Any) -> list[tuple[str, float, list[float]]]:
    """Name, score and box of every detection on the page."""
    script = "rows => rows.map(row => [row.cells[0].textContent, row.title])"
    found = []
    for name, title in page.locator("#objects tr").evaluate_all(script):
        score, box = re.fullmatch(r"score (\S+), box (.+)", title).groups()  # type: ignore[union-attr]
        found.append((str(name), float(score), [float(value) for value in box.split()]))
    return found


def detect_on(page: Any, picture: Path) -> list[tuple[str, float, list[float]]]:
    page.evaluate("document.getElementById('objects').replaceChildren(document.createElement('p'))")
    page.set_input_files("#file", str(picture))
    until(lambda: page.locator("#objects > p").count() == 0)
    return rows(page)


def sentence(page: Any, part: str) -> None:
    until(lambda: re.search(part, page.locator("#say").inner_text() if page.locator("#say").is_visible() else ""))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The bundled photos, and one on its side that is upright by EXIF."""
    from PIL import Image

    path = tmp_path_factory.mktemp("exif") / "side.jpg"
    with Image.open(zoo.photos()[0]) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)
    return [*zoo.photos(), path]


@pytest.mark.parametrize(("name", "model"), [("index.html", ""), ("mediapipe.html", ".tflite")])
def test_detections_are_those_of_detect(
    base: str, open_page: Callable[..., Any], pictures: list[Path], name: str, model: str
) -> None:
    page = open_page(f"{base}/{name}")
    detector = Detector.load(f"{zoo.DEFAULT_MODEL}{model}", threads=1)
    for picture in pictures:
        expected, found = detector(picture), detect_on(page, picture)
        assert len(expected) > 0
        assert [each[0] for each in found] == list(expected.names), picture.name
        scores = np.array([each[1] for each in found])
        ious = iou_matrix(np.array([each[2] for each in found], np.float32), expected.boxes).diagonal()
        print(picture.name, "scores", np.abs(scores - expected.scores).max(), "IoU", ious.min())  # with pytest -s
        assert np.abs(scores - expected.scores).max() <= 0.02
        assert ious.min() >= 0.95
    for stage in ("resize", "run", "draw"):
        assert float(page.locator(f"#{stage}").inner_text()) > 0


SPECS = [
    InputSpec(width=300, height=300),
    InputSpec(width=64, height=48, layout="NHWC", channels="BGR", mean=(123.7, 116.3, 103.5), scale=(58.4, 57.1, 57.4)),
    InputSpec(width=65, height=97, resize="letterbox", pad_value=99, mean=(127.5,) * 3, scale=(127.5,) * 3),
    InputSpec(width=33, height=20, layout="NHWC", dtype="int8", quantization_scale=1.0, quantization_zero_point=-128),
]


@pytest.mark.parametrize("size", [(640, 480), (300, 300), (97, 65), (31, 200), (600, 600), (2, 3)])
def test_pixels_become_the_packages_own_tensor(
    base: str, open_page: Callable[..., Any], rng: np.random.Generator, size: tuple[int, int]
) -> None:
    page = open_page(f"{base}/style.css", ready=False)
    rgb = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    rgba = np.dstack([rgb, np.full(size[::-1], 255, np.uint8)])
    # As text: playwright is slow with long lists.
    script = """async ([base, text, width, height, input]) => {
      const module = await import(base + "/preprocess.js");
      const data = Uint8ClampedArray.from(atob(text), letter => letter.charCodeAt(0));
      const values = Float32Array.from(module.preprocess({data, width, height}, input));
      const bytes = new Uint8Array(values.buffer);
      let answer = "";
      for (let i = 0; i < bytes.length; i += 9999) answer += String.fromCharCode(...bytes.subarray(i, i + 9999));
      return btoa(answer); }"""
    text = base64.b64encode(rgba.tobytes()).decode()
    for spec in SPECS:
        found = page.evaluate(script, [base, text, *size, input_facts(spec)])
        expected = preprocess(np.ascontiguousarray(rgb[..., ::-1]), spec)
        step = 1 if spec.dtype == "int8" else 1 / min(spec.scale)  # of one pixel value
        values = np.frombuffer(base64.b64decode(found), np.float32).reshape(expected.shape)
        difference = np.abs(values - expected)
        print(size, spec.width, spec.height, "differing", (difference > 1e-6).mean(), "most", difference.max() / step)
        # OpenCV's code for other processors, and its way of halving a picture, may round one value differently.
        assert difference.max() <= step * 1.001, (spec, difference.max())
        assert (difference > 1e-6).mean() < 0.02, spec


@pytest.mark.parametrize("name", ["index.html", "mediapipe.html"])
def test_boxes_follow_the_camera(base: str, open_page: Callable[..., Any], name: str) -> None:
    page = open_page(f"{base}/{name}")
    page.locator("#camera").click()
    seen = set()

    def moved() -> bool:
        seen.update(tuple(round(value) for value in box) for object_, _, box in rows(page) if object_ == "cat")
        return len(seen) >= 4

    until(moved, 40)
    until(lambda: float(page.locator("#fps").inner_text().replace("-", "0")) > 0)
    print(name, {stage: page.locator(f"#{stage}").inner_text() for stage in ("fps", "resize", "run", "draw")})
    page.locator("#camera").click()
    assert page.locator("#camera").inner_text() == "Start camera"
    assert page.locator("#fps").is_visible()


def test_the_threshold_hides_what_is_below(base: str, open_page: Callable[..., Any], pictures: list[Path]) -> None:
    page = open_page(f"{base}/index.html")
    assert page.locator("#threshold").get_attribute("min") == "0.3"
    before = [score for _, score, _ in detect_on(page, pictures[0])]
    page.locator("#threshold").fill("0.9")
    after = [score for _, score, _ in rows(page)]
    assert 0 < len(after) < len(before)
    assert after == [score for score in before if score > 0.9]
    page.locator("#threshold").fill("0.99")
    assert page.locator("#nothing").inner_text() == "nothing above the threshold"


def test_a_dropped_picture(base: str, open_page: Callable[..., Any]) -> None:
    page = open_page(f"{base}/index.html")
    script = """async base => {
      const answer = await fetch(base + "/cat.png"), data = new DataTransfer();
      data.items.add(new File([await answer.blob()], "cat.png", {type: "image/png"}));
      document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true})); }"""
    photo = zoo.photos()[0].parent / "chelsea.png"
    page.route("**/cat.png", lambda route: route.fulfill(path=photo))
    page.evaluate(script, base)
    until(lambda: [name for name, _, _ in rows(page)] == ["cat"])


def test_what_is_no_picture(base: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a picture")
    page = open_page(f"{base}/index.html")
    page.set_input_files("#file", str(tmp_path / "notes.jpg"))
    sentence(page, r"^notes\.jpg is no picture that this browser can read")


@pytest.mark.parametrize(
    ("camera", "part"), [("none", "There is no camera here"), ("refused", "The camera was refused: allow it")]
)
def test_a_camera_that_is_not_there_or_not_given(
    base: str, open_page: Callable[..., Any], camera: str, part: str
) -> None:
    page = open_page(f"{base}/index.html", camera=camera)
    page.locator("#camera").click()
    sentence(page, part)
    assert page.locator("#camera").inner_text() == "Start camera"


def test_a_camera_that_is_pulled_out(base: str, open_page: Callable[..., Any]) -> None:
    def remember(page: Any) -> None:
        page.add_init_script(
            "const kind = MediaDevices.prototype, get = kind.getUserMedia;"
            "kind.getUserMedia = async function (options) { return self.given = await get.call(this, options); }"
        )

    page = open_page(f"{base}/index.html", prepare=remember)
    page.locator("#camera").click()
    until(lambda: rows(page))
    page.evaluate("given.getVideoTracks()[0].dispatchEvent(new Event('ended'))")
    sentence(page, "The camera is gone")
    assert page.locator("#camera").inner_text() == "Start camera"


def test_no_webgpu_falls_back_to_wasm(base: str, open_page: Callable[..., Any], pictures: list[Path]) -> None:
    page = open_page(f"{base}/index.html?backend=webgpu")
    sentence(page, "This browser has no WebGPU: the model runs on wasm")
    assert "on wasm (CPU)" in page.locator("#facts").inner_text()
    assert page.locator("#backend option[value=webgpu]").get_attribute("disabled") is not None
    assert detect_on(page, pictures[0])


def test_a_gpu_that_fails_falls_back_to_wasm(base: str, open_page: Callable[..., Any], pictures: list[Path]) -> None:
    def pretend(page: Any) -> None:
        gpu = "{requestAdapter: async () => ({info: {}, features: new Set(), limits: {}})}"
        page.add_init_script(f"Object.defineProperty(Navigator.prototype, 'gpu', {{get: () => ({gpu})}})")

    page = open_page(f"{base}/index.html?backend=webgpu", prepare=pretend)
    sentence(page, r"It runs on wasm \(CPU\) instead\. onnxruntime-web cannot run the model on WebGPU: ")
    assert detect_on(page, pictures[0])


@pytest.mark.parametrize(
    ("name", "missing", "part"),
    [
        ("index.html", "model.onnx", r"The model \(model\.onnx\) is missing beside this page \(404\)"),
        ("index.html", "model.json", r"\(model\.json\) is missing"),
        ("index.html", "ort/ort.wasm.min.mjs", r"The runtime is missing beside this page \(ort/ort\.wasm\.min\.mjs\)"),
        ("index.html", "ort/ort-wasm-simd-threaded.wasm", "onnxruntime-web cannot run the model"),
        ("mediapipe.html", "model.tflite", r"The model \(model\.tflite\) is missing"),
        ("mediapipe.html", "mediapipe/vision_bundle.mjs", "MediaPipe is missing beside this page"),
    ],
)
def test_files_that_are_missing(base: str, open_page: Callable[..., Any], name: str, missing: str, part: str) -> None:
    def prepare(page: Any) -> None:
        page.route(f"**/{missing}", lambda route: route.fulfill(status=404, body="gone"))

    page = open_page(f"{base}/{name}", prepare=prepare, ready=False)
    sentence(page, part)
    assert page.locator("#camera").is_disabled()


def test_a_model_that_is_damaged(base: str, open_page: Callable[..., Any]) -> None:
    def prepare(page: Any) -> None:
        page.route("**/model.onnx", lambda route: route.fulfill(body=b"\x08\x0a nonsense"))

    page = open_page(f"{base}/index.html", prepare=prepare, ready=False)
    sentence(page, "onnxruntime-web cannot run the model")


def test_opened_as_a_file(folder: Path, open_page: Callable[..., Any]) -> None:
    page = open_page((folder / "index.html").as_uri(), ready=False)
    sentence(
        page, r"cannot run from a file: run .python -m http\.server. in its folder, then open http://localhost:8000"
    )


def test_mediapipe_tells_google_nothing(base: str, open_page: Callable[..., Any]) -> None:
    page = open_page(f"{base}/mediapipe.html")
    # The page's policy, and not the absence of an attempt: MediaPipe sends its metrics after a minute.
    blocked = page.evaluate(
        "new Promise(done => { addEventListener('securitypolicyviolation', event => done(event.blockedURI));"
        " fetch('https://odml.pa.googleapis.com/v1/log', {method: 'POST'}).catch(() => {}); })"
    )
    assert blocked.startswith("https://odml.pa.googleapis.com/")


@pytest.mark.parametrize("name", ["desk", "phone", "mediapipe"])
def test_the_page_fits_its_width(base: str, open_page: Callable[..., Any], pictures: list[Path], name: str) -> None:
    size = {"width": 390, "height": 844} if name == "phone" else {"width": 1280, "height": 800}
    options = {"color_scheme": "dark"} if name == "mediapipe" else {}
    page = open_page(f"{base}/{'mediapipe' if name == 'mediapipe' else 'index'}.html", viewport=size, **options)
    detect_on(page, pictures[0])
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    if shots := os.environ.get("EDGESSD_SCREENSHOTS"):
        page.screenshot(path=Path(shots) / f"webbundle_{name}.png", full_page=True)

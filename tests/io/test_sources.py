from pathlib import Path
from typing import Any

import pytest

from edgessd.errors import InputError
from edgessd.io.sources import expand
from edgessd.io.video import is_stream, is_video
from edgessd.zoo import resolve_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "c.webp", "notes.txt", ".hidden.jpg", "clip.mp4", "sub/d.jpg", "odd[1].jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("", ["a.png", "b.JPG", "c.webp", "odd[1].jpg"]),
        ("*.png", ["a.png"]),
        ("?.*", ["a.png", "b.JPG", "c.webp"]),
        ("**/d.jpg", ["sub/d.jpg"]),
        ("odd[1].jpg", ["odd[1].jpg"]),
        ("clip.mp4", ["clip.mp4"]),
        ("no-such-file.jpg", ["no-such-file.jpg"]),
    ],
)
def test_folder_pattern_and_file(folder: Path, source: str, names: list[str]) -> None:
    expected = [folder / name for name in names]
    assert expand(folder / source) == expected
    assert expand(str(folder / source)) == expected


def test_a_folder_that_is_there_is_no_pattern(tmp_path: Path) -> None:
    trip, other = tmp_path / "[2024] trip", tmp_path / "2 trip"
    for folder in (trip / "day *", trip / "day 1", other):
        folder.mkdir(parents=True)
        for name in ("a.jpg", "b.jpg"):
            (folder / name).touch()
    assert expand(f"{trip}/day */*.jpg") == [trip / "day *" / "a.jpg", trip / "day *" / "b.jpg"]
    assert expand(f"{trip}/day ?/a.jpg") == [trip / "day *" / "a.jpg", trip / "day 1" / "a.jpg"]
    assert expand(f"{trip}/**/a.jpg") == [trip / "day *" / "a.jpg", trip / "day 1" / "a.jpg"]
    assert expand(f"{tmp_path}/[0-9] trip/*.jpg") == [other / "a.jpg", other / "b.jpg"]


def test_addresses_of_local_files(folder: Path) -> None:
    for name in ("a.png", "odd[1].jpg", "sub/d.jpg", "no such %20 ü.jpg"):
        path = folder / name
        for address in (
            path.as_uri(),
            path.as_uri().replace("file://", "file://localhost"),
            f"FILE:{path.as_uri()[7:]}",
        ):
            assert expand(address) == [path] and not is_video(address)
    assert len(expand(folder.as_uri())) == 4 and is_video((folder / "x.mp4").as_uri())
    assert resolve_model(resolve_model().as_uri()) == resolve_model()
    for address in ("file://server/a.jpg", "file:a.jpg"):
        with pytest.raises(InputError, match="file"):
            expand(address)


def test_list_keeps_its_order_and_addresses(folder: Path) -> None:
    url = "https://host/photos/*.jpg"
    assert expand([folder / "c.webp", url, str(folder / "a*")]) == [folder / "c.webp", url, folder / "a.png"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("empty", "no pictures in this folder"),
        ("*.gif", "no file matches this pattern"),
        ("fold*", "no file matches this pattern"),
    ],
)
def test_nothing_found(folder: Path, source: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        expand([folder / "a.png", folder / source])
    assert text in str(caught.value) and source in str(caught.value)


@pytest.mark.parametrize("source", [[], (), [3], [None]])
def test_no_sources(source: Any) -> None:
    with pytest.raises(InputError):
        expand(source)


@pytest.mark.parametrize(
    ("source", "video"),
    [
        ("a.mp4", True),
        (Path("A.AVI"), True),
        ("a.jpg", False),
        ("a.gif", False),
        ("mp4", False),
        ("https://host/a.mp4?token=1.jpg", True),
        ("https://host/a.jpg?as=.mp4", False),
        ("rtsp://camera/live", True),
        ("ftp://host/a.jpg", False),
    ],
)
def test_videos_are_known_by_their_suffix(source: str | Path, video: bool) -> None:
    assert is_video(source) == video


def test_streams() -> None:
    assert is_stream("rtsp://camera/1") and not is_stream("http://host/a.mp4") and not is_stream("a.mp4")

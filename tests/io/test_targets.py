from pathlib import Path

import pytest

from edgessd.errors import OptionError
from edgessd.io.targets import FreeNames, keep_sources


def test_names_are_free(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").symlink_to("nowhere")
    (tmp_path / "c.jpg").mkdir()
    (tmp_path / "d-2.jpg").touch()
    names = FreeNames(tmp_path)
    chosen = [names.choose(stem, ".jpg").name for stem in ("a", "b", "c", "d", "d", "A", "a", "e", "E", "e-2", "e")]
    assert chosen == [
        "a-2.jpg", "b-2.jpg", "c-2.jpg", "d.jpg", "d-3.jpg", "A-3.jpg", "a-4.jpg", "e.jpg", "E-2.jpg", "e-2-2.jpg",
        "e-3.jpg",
    ]  # fmt: skip
    assert len({name.lower() for name in chosen}) == len(chosen)


def test_what_is_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "a.jpg"
    source.touch()
    (tmp_path / "link.jpg").symlink_to(source)
    (tmp_path / "hard.jpg").hardlink_to(source)
    (tmp_path / "folder").symlink_to(tmp_path)
    for target in (source, Path("a.jpg"), tmp_path / "link.jpg", tmp_path / "hard.jpg", tmp_path / "folder" / "a.jpg"):
        for named in (source, "a.jpg", "link.jpg", source.as_uri()):
            with pytest.raises(OptionError, match="is one of the files to be read: give the result another name"):
                keep_sources([None, target], ["other.jpg", None, named])
    keep_sources([tmp_path / "b.jpg", None], [source, "http://host/a.jpg", "rtsp://host", "a\0b", ""])
    keep_sources([source], ["http://host/a.jpg", None])
    keep_sources([], [source])
    keep_sources([source], ["", None])


def test_files_of_a_data_set_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "other").symlink_to(tmp_path / "set")
    labels = tmp_path / "set" / "labels.json"
    labels.touch()
    for target in (labels, tmp_path / "other" / "labels.json"):
        with pytest.raises(OptionError, match="is one of the files to be read"):
            keep_sources([target], [tmp_path / "set"])
    keep_sources([tmp_path / "set" / "new.json", tmp_path / "set.json"], [tmp_path / "set"])


def test_two_results_do_not_share_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(OptionError, match="is named for two results"):
        keep_sources([tmp_path / "a", None, tmp_path / "folder" / "a"], [])
    keep_sources([Path("/dev/null"), Path("/dev/null"), Path("-")], [])

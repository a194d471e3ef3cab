"""What the user names, and what it stands for."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from edgessd._cv2 import cv2
from edgessd.apps.bulk import plan, sources
from edgessd.apps.bulk.plan import count_pictures, read_block, write_plan
from edgessd.apps.bulk.reading import read_ahead
from edgessd.apps.bulk.sources import Paths, Slice, Tables, find_pictures
from edgessd.apps.bulk.storage import Storage
from edgessd.errors import InputError, OptionError


def paths(source, column=None):
    found = find_pictures(source, column)
    assert isinstance(found, Paths)
    return list(found.paths)


def test_a_folder_a_pattern_and_a_list_are_those_of_detect(pictures, tmp_path):
    all_of_them = [str(pictures / f"picture {number}.jpg") for number in range(10)]
    assert paths(pictures) == all_of_them
    assert paths(f"{pictures}/*[0-4].jpg") == all_of_them[:5]
    assert paths(all_of_them[3]) == all_of_them[3:4]
    (tmp_path / "list.txt").write_text("b.jpg\n\n  http://host/a.jpg \r\nb.jpg")
    assert paths(tmp_path / "list.txt") == ["b.jpg", "http://host/a.jpg", "b.jpg"]
    assert paths(iter(["x.jpg"])) == ["x.jpg"]
    assert paths("http://host/a.jpg") == ["http://host/a.jpg"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nothing", "no such file or folder"),
        (lambda folder: folder, "no pictures in this folder"),
        (lambda folder: folder / "*.png", "no file matches"),
        (lambda folder: folder / "missing.txt", "no such file"),
        (lambda folder: write(folder / "binary.txt", b"a.jpg\n\xff\xfe\n"), "line 2 is no text"),
        (lambda folder: write(folder / "broken.parquet", b"PAR1 no"), "is no Parquet file"),
        (lambda folder: "ftp://host/folder/*.jpg", "ftp"),
        (lambda folder: "s3:///a.jpg", "names no bucket"),
    ],
)
def test_a_source_that_is_none_says_so(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        for path in paths(str(make(tmp_path))):
            if path.startswith("ftp"):
                raise InputError(read_ahead(plan.Block(0, 0, [path]), SOURCE)[0].error)


def write(path, data):
    path.write_bytes(data)
    return path


class SOURCE:
    root = "/"


def table(file, **columns):
    pq.write_table(pa.table(columns), file, row_group_size=3)
    return file


def test_the_column_is_found_where_there_is_no_doubt(tmp_path):
    bytes_, struct = [b"x"] * 2, [{"bytes": b"x", "path": "a"}] * 2
    cases = [
        ({"path": ["a", "b"], "label": ["c", "d"]}, None, ["a", "b"]),
        ({"anything": ["a", "b"], "number": [1, 2]}, None, ["a", "b"]),
        ({"one": ["a", "b"], "two": ["c", "d"]}, "two", ["c", "d"]),
        ({"jpeg": bytes_, "text": ["a", "b"]}, None, ("jpeg",)),
        ({"jpeg": bytes_, "name": ["a", "b"]}, None, ("jpeg", "name")),
        ({"image": struct, "label": [1, 2]}, None, ("image.bytes", "image.path")),
        ({"image": bytes_, "mask": bytes_}, "mask", ("mask",)),
    ]
    for number, (columns, column, expected) in enumerate(cases):
        file = table(tmp_path / f"{number}.parquet", **columns)
        found = find_pictures(file, column)
        got = list(found.paths) if isinstance(found, Paths) else found.columns
        assert got == expected, columns
    for columns, column in (
        ({"one": ["a"], "two": ["b"]}, None),
        ({"image": [b"x"], "mask": [b"x"]}, None),
        ({"path": ["a"]}, "pth"),
        ({"number": [1]}, None),
        ({"number": [1]}, "number"),
    ):
        with pytest.raises(OptionError, match="--column"):
            find_pictures(table(tmp_path / "unclear.parquet", **columns), column)
    with pytest.raises(OptionError, match="--column is for Parquet"):
        find_pictures(write(tmp_path / "a.jpg", b"x"), "path")


def test_a_folder_of_parquet_files_is_a_table(tmp_path):
    table(tmp_path / "b.parquet", path=["c"])
    table(tmp_path / "a.parquet", path=["a", "b"])
    table(tmp_path / "_metadata.parquet", path=["not this"])
    assert paths(tmp_path) == ["a", "b", "c"]
    assert paths(tmp_path / "b*.parquet") == ["c"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("b/**/*.jpg", "b/a.jpg", True),
        ("b/**/*.jpg", "b/c/d/a.jpg", True),
        ("b/*.jpg", "b/c/a.jpg", False),
        ("b/a?[0-3].jpg", "b/ax2.jpg", True),
        ("b/a?[!0-3].jpg", "b/ax2.jpg", False),
        ("b/a.jpg", "b/axjpg", False),
    ],
)
def test_patterns_in_a_bucket_read_as_those_of_the_shell(pattern, path, matches):
    assert (re.fullmatch(sources._pattern(pattern), path) is not None) is matches


def test_folders_with_brackets_file_addresses_and_lists_of_windows(pictures, tmp_path):
    folder = tmp_path / "[2024] trip"
    folder.mkdir()
    for name in ("a.jpg", "[1].jpg"):
        (folder / name).write_bytes((pictures / "picture 0.jpg").read_bytes())
    both = [str(folder / "[1].jpg"), str(folder / "a.jpg")]
    assert paths(f"{folder}/*.jpg") == paths(str(folder)) == paths(folder.as_uri()) == both
    assert paths(f"{folder}/[1].jpg") == both[:1]
    parts = (tmp_path.as_posix().lstrip("/"), "[2024] trip", "[a].jpg")
    assert sources._fixed(pa.fs.SubTreeFileSystem("/", pa.fs.LocalFileSystem()), parts) == 2
    listed = folder / "list.txt"
    uri = (folder / "a.jpg").as_uri()
    listed.write_bytes(f"{both[0]}\r\n{uri}\r\n".encode("utf-8-sig"))
    assert paths(listed) == paths(listed.as_uri()) == [both[0], uri]
    read = read_ahead(plan.Block(0, 0, paths(listed)), SOURCE)
    assert [each.error for each in read] == [None, None] and read[1].data == (folder / "a.jpg").read_bytes()


def test_a_plan_gives_back_every_path_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "BLOCKS_PER_FILE", 2)  # so that it takes several files
    storage = Storage(str(tmp_path))
    names = [f"{number}.jpg" for number in range(8)] + ["no utf-8 \udcff.jpg"]
    assert write_plan(storage, Paths(iter(names)), 2, None) == (9, 5)
    blocks = [read_block(storage, number, 2) for number in range(5)]
    assert [name for block in blocks for name in block.pictures] == names
    assert [block.first for block in blocks] == [0, 2, 4, 6, 8]
    assert count_pictures(storage, [0, 3, 4], 2, 9) == 5
    assert write_plan(storage, Paths(names), 2, 3) == (3, 2)  # and nothing of the first plan is left
    assert len(storage.names("_plan")) == 1


def test_pictures_inside_parquet_files_come_with_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "BLOCKS_PER_FILE", 2)
    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    rows = [{"bytes": picture + bytes([number]), "path": f"{number}.png"} for number in range(7)]
    rows[5]["bytes"] = None
    file = table(tmp_path / "t.parquet", image=rows)
    storage = Storage(str(tmp_path))
    found = find_pictures(file)
    assert isinstance(found, Tables)
    assert write_plan(storage, found, 2, 6) == (6, 4)  # groups of 3, 3 and 1 rows: 2 + 1, 2 + 1
    blocks = [read_block(storage, number, 2) for number in range(4)]
    assert [block.pictures for block in blocks][1] == Slice(str(file), 0, 2, 2, 1)
    assert [block.first for block in blocks] == [0, 2, 3, 5]
    assert count_pictures(storage, [1, 3], 2, 6) == 2

    class Source:
        columns = found.columns

    read = [each for block in blocks for each in read_ahead(block, Source)]
    assert [each.path for each in read] == [f"{number}.png" for number in range(6)]
    assert [each.data for each in read] == [row["bytes"] for row in rows[:6]]
    assert read[5].error == "5.png: the column holds no bytes"
    file.unlink()
    assert "no such file" in read_ahead(blocks[0], Source)[1].error


def test_more_bytes_than_may_wait_are_left_to_the_worker(monkeypatch):
    from edgessd.apps.bulk import reading

    monkeypatch.setattr(reading, "READ_AHEAD", 100)
    monkeypatch.setattr(reading, "DOWNLOADS", 1)
    monkeypatch.setattr(reading, "read_picture", lambda path, root: reading.Picture(path, b"x" * 60))

    class Source:
        root = ""

    addresses = [f"http://127.0.0.1/{number}.png" for number in range(4)]
    read = read_ahead(plan.Block(0, 0, addresses), Source)
    assert [each.path for each in read] == addresses
    assert [each.data is not None for each in read] == [True, True, False, False]
    assert all(each.error is None for each in read)
    later = list(reading.each_read(read, ""))
    assert [each.path for each in later] == addresses and all(each.data is not None for each in later)


@pytest.mark.parametrize("count", [0, 1, 8, 9, 20])
def test_pictures_of_a_disk_are_read_by_the_worker_in_order(tmp_path, count):
    from edgessd.apps.bulk import reading

    names = [f"{number}.png" for number in range(count)]
    for name in names[:-1]:
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), int(name[:-4]), np.uint8))

    class Source:
        root = str(tmp_path)

    waiting = read_ahead(plan.Block(0, 0, names), Source)
    assert all(each.data is None and each.error is None for each in waiting)
    read = list(reading.each_read(waiting, Source.root))
    assert [each.path for each in read] == names
    assert [each.data for each in read[:-1]] == [(tmp_path / name).read_bytes() for name in names[:-1]]
    assert all(each.milliseconds > 0 for each in read[:-1])
    assert not read or "no such file" in read[-1].error

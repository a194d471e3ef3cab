"""OUT/_manifest.json: what a result was made from and with, so that it can be understood and gone on with."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

import msgspec
from msgspec import Struct, field

import edgessd
from edgessd.apps.bulk.storage import Storage
from edgessd.errors import InputError, ModelError, printable
from edgessd.model_file import runtimes_for

MANIFEST = "_manifest.json"
MODEL = "_model"
PLAN = "_plan"
_PART = re.compile(r"part-(\d{8,})\.parquet")
_PACKAGES = ("ray", "pyarrow", "numpy", "onnxruntime", "opencv-python", "opencv-python-headless", "ai-edge-litert")


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """The model of a run. file: its name in OUT/_model. sha256: of all its files. category_ids: as of `ModelSpec`."""

    name: str
    file: str
    sha256: str
    runtime: str
    classes: tuple[str, ...]
    category_ids: tuple[int, ...] | None = None


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes the rows or how they lie in files. `threads` of the engine may change the last digits of scores."""

    score_threshold: float
    iou_threshold: float
    max_detections: int
    classes: tuple[str, ...] | None
    batch_size: int
    limit: int | None
    threads: int


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """The pictures of a run.

    given: as the user named them. kind: `paths` (paths and addresses) or `bytes` (pictures inside Parquet files).
    root: the folder that relative paths start from. columns: of Parquet files: of the bytes (kind `bytes`), and of
    the names, if any.
    """

    given: str
    kind: str
    root: str
    pictures: int
    blocks: int
    columns: tuple[str, ...] = ()


class Run(Struct, forbid_unknown_fields=True):
    """One run, of which a result may have several. Times in UTC."""

    started: str
    versions: dict[str, str]
    workers: int
    ended: str | None = None
    pictures: int = 0
    failures: int = 0
    seconds: float = 0.0


class Manifest(Struct, forbid_unknown_fields=True):
    """Everything about a result but its rows."""

    model: Model
    options: Options
    source: Source
    runs: list[Run] = field(default_factory=list)
    complete: bool = False
    schema: int = 1

    def write(self, storage: Storage) -> None:
        """Write it, atomically."""
        storage.write(MANIFEST, msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def read_manifest(storage: Storage) -> Manifest:
    """Read the manifest of a result. Raises InputError where there is none, or one that is not ours."""
    if MANIFEST not in storage.names():
        raise InputError(f"{printable(storage.address)} is no result of `edgessd bulk`: it has no {MANIFEST}")
    try:
        return msgspec.json.decode(storage.read(MANIFEST), type=Manifest)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InputError(f"{storage.shown(MANIFEST)} is damaged: {printable(error)}: use another folder") from None


def part_name(block: int) -> str:
    """Return the name of a block's file."""
    return f"part-{block:08d}.parquet"


def finished_blocks(storage: Storage) -> list[int]:
    """Return the sorted numbers of the blocks whose files are there."""
    found = (_PART.fullmatch(name) for name in storage.names(files=True))
    return sorted(int(match[1]) for match in found if match)


def model_files(path: Path) -> dict[str, bytes]:
    """Return name and bytes of the files of a model: one, or two for OpenVINO. Raises ModelError."""
    paths = [path, path.with_suffix(".bin")] if runtimes_for(path)[0] == "openvino" else [path]
    try:
        return {each.name: each.read_bytes() for each in paths}
    except OSError as error:
        raise ModelError(f"{printable(error.filename)} cannot be read: {error.strerror}") from None


def sha256(files: dict[str, bytes]) -> str:
    """Return one hash over the bytes of files, whatever their names."""
    digest = hashlib.sha256()
    for data in files.values():
        digest.update(data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of what makes the rows."""
    found = {"edgessd": edgessd.__version__, "python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def refuse_changes(old: Manifest, new: Manifest) -> None:
    """Raise InputError where a result cannot be gone on with, because it would mix two kinds of rows."""
    pairs = [("model", old.model.sha256, new.model.sha256), ("runtime", old.model.runtime, new.model.runtime)]
    pairs += [(name, getattr(old.options, name), getattr(new.options, name)) for name in Options.__struct_fields__]
    pairs.append(("source", old.source.given, new.source.given))
    for name, before, now in pairs:
        if before != now:
            if name == "model":
                before, now = f"file {before[:12]}...", f"{now[:12]}..."
            raise InputError(
                f"this result was begun with {name.replace('_', ' ')} {printable(before)}, not {printable(now)}: "
                "give the same, or another folder"
            )

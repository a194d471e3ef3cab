"""What one worker does: it holds one loaded model, takes blocks, and writes their rows."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgessd._cv2 import cv2
from edgessd.apps.bulk.manifest import MODEL, Manifest, model_files, part_name, read_manifest, sha256
from edgessd.apps.bulk.reading import Picture, each_read, shown_path
from edgessd.apps.bulk.rows import Row, found_row, write_rows
from edgessd.apps.bulk.storage import Storage
from edgessd.apps.bulk.trail import DEATHS, Trail
from edgessd.detector import Detector
from edgessd.errors import InputError, printable
from edgessd.io.address import shown_source
from edgessd.io.files import scratch_folder, write_part
from edgessd.io.images import decode_image


class Done(NamedTuple):
    """What came of one block. begun: seconds since 1970 at its first picture, by the worker's clock."""

    block: int
    pictures: int
    failures: int
    begun: float


class Worker:
    """One loaded model of a run; `detect_block` per block.

    output: the result's folder, which holds the model that the run was begun with. after_death: it takes the place of
    one that died, and leaves a trail in its first block (trail.py). Raises InputError where this machine does not see
    the folder.
    """

    def __init__(self, output: str, after_death: bool = False) -> None:
        self._after_death = after_death
        self.storage = Storage(output)
        self.manifest = _shared_manifest(self.storage)
        self.detector = load(self.storage, self.manifest)

    def detect_block(self, number: int, first: int, pictures: Sequence[Picture]) -> Done:
        """Detect in the pictures of a block and write its file. A picture that cannot be used is a row with its error.

        Raises InputError where the file cannot be written, EngineError where the engine fails.
        """
        begun = time.time()
        trail = Trail(self.storage, number) if self._after_death else None
        rows = []
        for place, picture in enumerate(each_read(pictures, self.manifest.source.root)):
            if trail is not None and trail.gives_up(place):
                path = shown_path(picture.path)
                rows.append(Row(first + place, path, error=f"{printable(path)}: {DEATHS} workers died at this picture"))
            else:
                rows.append(self._row(first + place, picture))
        write_rows(self.storage, part_name(number), rows)
        self._after_death = False
        failures = sum(row.error is not None for row in rows)
        return Done(number, len(rows), failures, begun)

    def _row(self, index: int, picture: Picture) -> Row:
        path = shown_path(picture.path)
        if picture.data is None:
            return Row(index, path, error=picture.error)
        started = time.perf_counter()
        try:
            image = decode_image(picture.data, name=shown_source(picture.path))
            read = (time.perf_counter() - started) * 1e3 + picture.milliseconds
            found = self.detector(image)
        except InputError as error:  # of the picture; where the engine fails the block does
            return Row(index, path, error=str(error))
        row = found_row(index, path, found)
        assert row.milliseconds is not None
        row.milliseconds["read"] = read
        return row


def load(storage: Storage, manifest: Manifest) -> Detector:
    """Load the model that lies in a result. Raises InputError where it is not the one of the manifest."""
    options = manifest.options
    names = storage.names(MODEL)
    files = {name: storage.read(f"{MODEL}/{name}") for name in names if name.startswith(Path(manifest.model.file).stem)}
    with scratch_folder() as folder:
        for name, data in files.items():
            write_part(folder / name, data)
        path = folder / manifest.model.file
        if not path.is_file() or sha256(model_files(path)) != manifest.model.sha256:
            raise InputError(f"{storage.shown(MODEL)} does not hold the model of this run: use another folder")
        cv2.setNumThreads(options.threads)
        return Detector.load(
            path,
            manifest.model.runtime,
            options.threads,
            score_threshold=options.score_threshold,
            iou_threshold=options.iou_threshold,
            max_detections=options.max_detections,
            classes=options.classes,
        )


def _shared_manifest(storage: Storage) -> Manifest:
    try:
        return read_manifest(storage)
    except InputError as error:
        raise InputError(
            f"the machine {socket.gethostname()} does not see {printable(storage.address)} ({error}): "
            "give -o a folder that all machines share, or a bucket (s3://..., gs://...)"
        ) from None

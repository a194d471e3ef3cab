"""What a worker that died leaves to the one in its place: which picture it was at.

A picture can make a decoder or an engine crash, or the system kill a process for its memory; no exception tells of it.
The first time a block loses its worker nothing is known. From then on the worker that has the block notes every
picture in OUT/_trail before it touches it. A picture at which `DEATHS` workers were so lost is given up: it becomes a
row with an error. Fewer would blame pictures for machines that went away by themselves.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from edgessd.apps.bulk.storage import Storage

TRAIL = "_trail"
DEATHS = 2


class _Note(Struct):
    at: int | None = None
    deaths: dict[int, int] = {}


class Trail:
    """The notes about one block. at: the picture in work, by its place in the block."""

    def __init__(self, storage: Storage, block: int) -> None:
        self._storage = storage
        self._name = f"{TRAIL}/{block:08d}.json"
        self._note = _Note()
        if f"{block:08d}.json" in storage.names(TRAIL):
            self._note = msgspec.json.decode(storage.read(self._name), type=_Note)
            if self._note.at is not None:
                deaths = self._note.deaths
                deaths[self._note.at] = deaths.get(self._note.at, 0) + 1
        storage.make(TRAIL)

    def gives_up(self, place: int) -> bool:
        """Whether a picture has cost too many workers; if not, note that it is in work now."""
        if self._note.deaths.get(place, 0) >= DEATHS:
            return True
        self._note.at = place
        self._storage.write(self._name, msgspec.json.encode(self._note))
        return False

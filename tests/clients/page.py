"""The table in docs/clients.md."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .clients import CLIENTS, Client
from .environments import ROOT
from .outcome import Outcome

PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- table: python -m tests.clients --page -->", "<!-- end of table -->"
HEAD = (
    "| client | version | file | right | found | lowest IoU | pixels | score | why not |",
    "|---|---|---|---|---:|---:|---:|---:|---|",
)


@dataclass(frozen=True)
class Row:
    """One run; outcome None: not possible here, for the reason in `missing`."""

    client: Client
    file: str
    outcome: Outcome | None
    missing: str = ""

    @property
    def right(self) -> bool:
        return self.outcome is not None and self.outcome.within(self.client.limits_of(self.file))

    @property
    def near(self) -> bool:
        """Whether it found the same objects, farther off than the limits, and the list says why."""
        complete = self.outcome is not None and self.outcome.complete
        return complete and not self.right and bool(self.client.reason(self.file))

    @property
    def as_known(self) -> bool:
        """Whether it is right (or near) where it should be, and wrong where the list says that it is."""
        return self.outcome is None or (self.right or self.near) != (self.file in self.client.fails)

    def cells(self) -> list[str]:
        start = [self.client.name, self.client.version, f"`{self.file}`"]
        known = self.client.fails.get(self.file, "")
        if self.outcome is None:
            return [*start, "not run", "", "", "", "", self.missing]
        if self.outcome.error:
            return [*start, "no", "", "", "", "", known or self.outcome.error]
        each = self.outcome
        found = f"{each.matched} of {each.expected}" + (f", {each.extra} false" if each.extra else "")
        figures = [f"{each.iou:.3f}", f"{each.pixels:.1f}", f"{each.score:.3f}"]
        if self.right:
            return [*start, "yes", found, *figures, ""]
        if self.near:
            return [*start, "near", found, *figures, self.client.reason(self.file)]
        return [*start, "no", found, *figures, known or "beyond the limits"]


def lines(rows: Iterable[Row]) -> list[str]:
    """Return the table."""
    return [*HEAD, *("| " + " | ".join(cell.replace("|", "/") for cell in row.cells()) + " |" for row in rows)]


def write(rows: Sequence[Row], pictures: int) -> None:
    """Put the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    made = f"{pictures} pictures, {processor()}."
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n\n" + "\n".join(lines(rows)) + f"\n{END}{after}", encoding="utf-8")


def processor() -> str:
    """Return the processor's name and whether it has the instructions that int8 kernels differ by."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.machine()
    text = info.read_text()
    name = re.search(r"model name\s*:\s*(.+)", text)
    vnni = "with" if re.search(r"\b(avx512_|avx_)vnni\b", text) else "without"
    return f"{name[1].strip() if name else platform.machine()}, {vnni} VNNI"


def listed() -> list[list[str]]:
    """Return client, version and file of every row of the page."""
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [[row[0], row[1], row[2].strip("`")] for row in rows[1:]]


def expected() -> list[list[str]]:
    """Return the same from the list of clients."""
    return [[client.name, client.version, file] for client in CLIENTS for file in client.files]

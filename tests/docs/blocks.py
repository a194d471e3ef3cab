"""The shell and Python blocks of README.md and docs/, and what a comment before a block says about it.

    <!-- block: device -->                        another machine, a camera, the network, hours: is read, not run
    <!-- block: usage -->                         a pattern such as [--split NAME]: is read, not run
    <!-- block: slow -->                          runs with the slow tests
    <!-- block: client OpenVINO -->               runs with them where that client of tests/clients is, without edgessd
    <!-- block: slow; --epochs 30 => --epochs 1 -->   the same, with one text in place of another; several by `;`

A block without a comment runs in `make test`. Fences of other languages (text, json, ...) are neither read nor run; a
fence without a language is shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("device", "usage", "slow", "client")
SHELL = ("", "sh", "bash", "shell", "console")
# In Markdown a fence may be indented (lists, tabs); HTML comments are not shown.
FENCE = re.compile(
    r"(?:^[ \t]*<!-- block: (?P<marker>[^\n]*?) -->[ \t]*\n+)?"
    r"^(?P<indent>[ \t]*)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """One fenced block. kind: quick or one of `KINDS`; replace: (text, by what) when it runs; client: its name."""

    page: str
    line: int
    language: str
    text: str
    kind: str
    replace: tuple[tuple[str, str], ...] = ()
    client: str = ""

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    def to_run(self) -> str:
        """Return the text with its replacements; one that does not occur is a mistake in the page."""
        text = self.text
        for old, new in self.replace:
            assert old in text, f"{self.name}: {old!r} is to be replaced and does not occur"
            text = text.replace(old, new)
        return text


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        language = "python" if match["language"] in ("python", "py") else match["language"]
        if language != "python" and language not in SHELL:
            continue
        indent = match["indent"]
        body = "\n".join(line.removeprefix(indent) for line in match["body"].splitlines())
        line = text.count("\n", 0, match.start("language")) + 1
        kind, replace = _marker(match["marker"], f"{page.name}:{line}")
        kind, _, client = kind.partition(" ")
        name = page.relative_to(ROOT).as_posix()
        found.append(Block(name, line, "python" if language == "python" else "sh", body, kind, replace, client))
    return found


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks_of(page)]


def inline_code(page: Path) -> list[str]:
    """Return the code spans of the running text, outside of fences and of headings that quote a message."""
    text = page.read_text(encoding="utf-8")
    outside = re.sub(r"^([ \t]*)```.*?^\1```[ \t]*$|^#### .*$", "", text, flags=re.M | re.S)
    return INLINE.findall(outside)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command in a shell text, without comments, pipes and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.replace("(", " ").replace(")", " "), posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|&;"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def ours(words: list[str]) -> tuple[str, list[str]] | None:
    """Return ("edgessd" or "camera", arguments) where a command runs one of our programs."""
    for number, word in enumerate(words):
        module = number > 0 and words[number - 1] == "-m"
        if module and word == "edgessd.apps.camera":
            return "camera", words[number + 1 :]
        if (number == 0 or module) and word.rpartition("/")[2] == "edgessd":
            return "edgessd", words[number + 1 :]
    return None


def _marker(text: str | None, where: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    if text is None:
        return "quick", ()
    kind, *rest = (part.strip() for part in text.split(";"))
    assert kind.partition(" ")[0] in (*KINDS, "quick"), f"{where}: unknown kind of block {kind!r}"
    pairs = []
    for part in rest:
        old, arrow, new = part.partition("=>")
        assert arrow and old.strip(), f"{where}: {part!r} is not OLD => NEW"
        pairs.append((old.strip(), new.strip()))
    return kind, tuple(pairs)

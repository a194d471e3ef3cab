"""The documentation as web pages: every page can be reached, and nothing comes from another server."""

import re
import subprocess
import sys

import pytest

from .blocks import ROOT

pytest.importorskip("mkdocs")
yaml = pytest.importorskip("yaml")

DOCS = ROOT / "docs"
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def files_of(entries):
    for entry in entries:
        for value in [entry] if isinstance(entry, str) else entry.values():
            yield from [value] if isinstance(value, str) else files_of(value)


def test_the_menu_has_every_page_once():
    listed = list(files_of(SETTINGS["nav"]))
    hidden = SETTINGS["not_in_nav"].split()
    assert len(listed) == len(set(listed))
    assert sorted([*listed, *hidden]) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    outside = re.compile(r'<(?:script|img|iframe|link)[^>]+(?:src|href)="(?:https?:)?//')
    for page in pages:
        assert not outside.findall(page.read_text(encoding="utf-8")), page.name

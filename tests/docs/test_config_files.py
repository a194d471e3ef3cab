"""The TOML files of the documentation are files that `edgessd camera --config` takes."""

import re
from pathlib import Path

import pytest

from edgessd.apps.camera.prepare import actions, capture_size, check_settings, shapes, watched
from edgessd.apps.camera.settings import Settings
from edgessd.options import read_toml, to_toml

from .blocks import pages

FENCE = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = [(page.name, text) for page in pages() for text in FENCE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("text", [text for _, text in FILES], ids=[name for name, _ in FILES])
def test_a_file_is_read_and_means_something(text: str, tmp_path: Path) -> None:
    file = tmp_path / "camera.toml"
    file.write_text(text)
    settings = Settings(**read_toml(file, Settings))
    check_settings(settings)
    assert watched(settings) == (settings.on_detect or [])
    assert len(shapes(settings)) == len(settings.line) + len(settings.zone)
    assert capture_size(settings) is None and actions(settings) == []


def test_the_whole_file_of_the_page_is_what_the_program_prints() -> None:
    whole = to_toml(Settings, {}, "Options of `edgessd camera`, for --config.")
    assert ("camera.md", whole) in FILES, "docs/camera.md: put in what `edgessd camera --print-config` prints"

"""Pictures of the documentation are those that the scripts of this repository draw."""

import re
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from .blocks import ROOT, pages


def script(name):
    spec = spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_house_is_drawn_as_it_stands():
    """A new package, or one that crosses the line, must be drawn again: make pictures."""
    drawing = script("architecture_picture")
    assert drawing.TARGET.read_text(encoding="utf-8") == drawing.picture()


def test_a_package_on_the_wrong_side_of_the_line_is_refused(monkeypatch):
    drawing = script("architecture_picture")
    above, below = drawing.layers()
    monkeypatch.setattr(drawing, "layers", lambda: (above | {"training"}, below - {"training"}))
    with pytest.raises(ValueError, match="training is drawn on the wrong side"):
        drawing.picture()


def test_every_picture_of_a_page_is_there_and_has_a_text_in_its_place():
    for page in pages():
        for text, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            assert len(text) > 10, f"{page.name}: {target} needs a text for those who do not see it"
            assert (page.parent / target).is_file(), f"{page.name}: there is no {target}"

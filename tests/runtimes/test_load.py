"""Engines are found by name, and imported when a file asks for them."""

import ast
import sys
from pathlib import Path

import pytest

import edgessd
from edgessd.errors import DependencyError, OptionError
from edgessd.model_file.kinds import ENGINES, FILE_KINDS
from edgessd.runtimes.load import RUNTIMES, load_runtime

CHECKPOINT = (2).to_bytes(8, "little") + b"{}"


def test_a_checkpoint_without_torch_names_the_extra(tmp_path, monkeypatch):
    for name in [each for each in sys.modules if each.startswith(("edgessd.models", "edgessd.quantization.runtime"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.safetensors").write_bytes(CHECKPOINT)
    with pytest.raises(DependencyError, match=r"^torch is not installed: pip install 'edgessd\[torch\]'$"):
        load_runtime(tmp_path / "a.safetensors")


def test_every_name_in_the_table_is_there_and_every_kind_has_one():
    folder = Path(edgessd.__file__).parent.parent
    for place in RUNTIMES.values():
        module, function = place.split(":")
        tree = ast.parse(folder.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert set(ENGINES) == set(FILE_KINDS)
    assert {name for names in ENGINES.values() for name in names} == set(RUNTIMES)


def test_labels_are_for_tflite_files_alone(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(CHECKPOINT)
    with pytest.raises(OptionError, match="labels are for TFLite files"):
        load_runtime(tmp_path / "a.safetensors", labels=["a"])

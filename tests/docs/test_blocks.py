"""Every shell and Python block of the documentation runs, in the order of its page, in a folder of the page's own."""

import shutil
import subprocess
import sys

import pytest

from . import sandbox
from .blocks import all_blocks, commands

# What prepares a machine; test_commands.py reads these lines, nothing runs them.
SETUP = ("pip ", "python3 -m venv", "make ", "source ", "git ", "cd ")


def lines_to_run(block):
    return "\n".join(line for line in block.to_run().replace("\\\n", " ").splitlines() if not line.startswith(SETUP))


RUN = [block for block in all_blocks() if block.kind in ("quick", "slow") and any(commands(lines_to_run(block)))]


@pytest.fixture(scope="session")
def furnished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("furnished")
    sandbox.furnish(folder)
    return folder


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory, furnished):
    """The folder of a page. Blocks of one page share it, as one reader does all of them."""
    made = {}

    def find(page, slow):
        if page not in made:
            made[page] = tmp_path_factory.mktemp("page") / "work"
            shutil.copytree(furnished, made[page], symlinks=True)
        if slow and not (made[page] / "tiny.safetensors").exists():
            sandbox.checkpoints(made[page])
        return made[page]

    return find


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=[pytest.mark.slow] if block.kind == "slow" else []) for block in RUN],
    ids=lambda block: block.name,
)
def test_a_block_runs(block, folder_of):
    text = block.to_run()
    if block.language == "sh":
        text = lines_to_run(block)
        command = ["bash", "-euo", "pipefail", "-c", text]
    else:
        command = [sys.executable, "-c", text]
    folder = folder_of(block.page, block.kind == "slow")
    done = subprocess.run(
        command,
        cwd=folder,
        env=sandbox.environment(folder),
        capture_output=True,
        text=True,
        timeout=900 if block.kind == "slow" else 60,
    )
    assert done.returncode == 0, f"{block.name}\n{text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

"""Writes the folder that goes to a device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import edgessd
from edgessd.apps.bundle import texts
from edgessd.apps.bundle.requirements import EXTRAS, requirements
from edgessd.apps.bundle.wheel import build_wheel
from edgessd.errors import ModelError, OptionError, printable
from edgessd.io.files import copy_part, write_part
from edgessd.io.folders import new_folder
from edgessd.model_file import read_facts, runtimes_for
from edgessd.zoo import resolve_model

FOLDER = "/opt/edgessd"


def write_bundle(
    models: Sequence[str | Path | None],
    folder: Path,
    *,
    extras: Iterable[str] = (),
    screen: bool = False,
    home_assistant: bool = False,
) -> list[Path]:
    """Write wheel, models, requirements, scripts and unit into the new folder `folder`; return the files.

    models: files or bundled names; the first is the one that start.sh takes. extras: more of edgessd's extras, such
    as `web`. screen: with opencv-python's windows. home_assistant: the camera is a device in Home Assistant.
    It is there as a whole or not at all. Raises InputError where `folder` exists and is not empty, ModelError for
    a file that no runtime without torch takes.
    """
    files = _model_files(models)
    names = [file.name for file, _ in files]
    if len(set(names)) < len(names):
        raise OptionError(f"two models have the same file name ({', '.join(names)}): rename one")
    wanted = [*(EXTRAS[runtime] for _, runtime in files), *extras, *(["mqtt"] if home_assistant else [])]
    lines = requirements(wanted, screen)
    with new_folder(folder) as temporary:
        _fill(temporary, [file for file, _ in files], lines, "web" in wanted, home_assistant)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _model_files(models: Sequence[str | Path | None]) -> list[tuple[Path, str]]:
    """Return file and runtime of every model."""
    found = []
    for model in models:
        path = resolve_model(model)
        runtime = runtimes_for(path)[0]
        if runtime not in EXTRAS:
            raise ModelError(
                f"{printable(path)} is a checkpoint, which needs torch: export it first, "
                f"edgessd export {printable(path)} -o {printable(path.with_suffix('.onnx').name)}"
            )
        read_facts(path)  # a damaged file should not travel
        found.append((path, runtime))
    return found


def _fill(folder: Path, models: Sequence[Path], lines: Sequence[str], web: bool, home_assistant: bool) -> None:
    build_wheel(folder)
    _copy_models(folder, models)
    first = models[0].name
    names = ", ".join(path.name for path in models)
    arguments = "--web 0.0.0.0:8000 --no-window" if web else "--no-window"
    written = {
        "requirements.txt": "".join(f"{line}\n" for line in lines),
        "install.sh": texts.INSTALL,
        "start.sh": texts.START.format(model=first),
        "edgessd.env": texts.ENVIRONMENT.format(arguments=arguments + " --home-assistant" * home_assistant),
        "edgessd.service": texts.SERVICE.format(folder=FOLDER),
        "README.md": texts.README.format(version=edgessd.__version__, model=first, models=names),
    }
    if home_assistant:
        watched = _watched(models[0])
        written["edgessd.env"] += texts.HOME_ENVIRONMENT.format(watched=watched)
        written["README.md"] += texts.HOME_README
        written["home-assistant.yaml"] = texts.HOME_CARDS.format(watched=watched)
    for name, text in written.items():
        path = folder / name
        write_part(path, text)
        if name.endswith(".sh"):
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may run it
    (folder / "edgessd.env").chmod(0o600)  # for passwords


def _watched(model: Path) -> str:
    """Return the class that is watched until the user names others: a person, or the first with a plain name."""
    classes = read_facts(model).spec(model).classes
    plain = (name for name in classes if re.fullmatch(r"[a-z0-9]+", name))
    return "person" if "person" in classes else next(plain, "CLASS")


def _copy_models(folder: Path, models: Sequence[Path]) -> None:
    (folder / "models").mkdir()
    for path in models:
        copy_part(path, folder / "models" / path.name)
        weights = path.with_suffix(".bin")
        if runtimes_for(path)[0] == "openvino":
            if not weights.is_file():
                raise ModelError(f"{printable(weights)} with the weights of {printable(path.name)} is not there")
            copy_part(weights, folder / "models" / weights.name)

"""The benchmark on a device that is reached by ssh: a bundle goes there, a report comes back."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edgessd.apps.benchmark.plan import Wanted, model_files
from edgessd.apps.benchmark.records import Report, Task, read_report
from edgessd.apps.benchmark.ssh import Ssh
from edgessd.apps.bundle import write_bundle
from edgessd.errors import DeviceError, InputError, printable
from edgessd.io.files import copy_part, scratch_folder
from edgessd.zoo import bundled_models, resolve_model

# Prints which Python is new enough, and a fresh folder; a line of its own, because login scripts may print, too.
PROBE = """\
for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if $name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        mkdir -p "$HOME/.cache/edgessd" && folder=$(mktemp -d "$HOME/.cache/edgessd/run.XXXXXX") || exit 43
        echo "edgessd-answer $name $folder"; exit 0
    fi
done
command -v python3 >/dev/null || exit 41
echo "edgessd-answer $(python3 -V 2>&1)"; exit 42
"""


def measure_on_device(
    device: Ssh,
    wanted: Wanted,
    common: Task,
    *,
    timeout: float = 600.0,
    wheels: Path | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Report:
    """Measure there, and return the report, its machine and rows named after the device.

    Its folder on the device is removed again; the environment stays in ~/.cache/edgessd, so that the next time is
    quick. common: pictures and runs; its data stays here. timeout: of one combination, in seconds. wheels: a folder
    of wheels to install from, for a device without network. say: is told each step.
    Raises DeviceError, with what to do, where something is missing or the connection is lost.
    """
    if wheels is not None and not list(wheels.glob("*.whl")):
        raise InputError(f"{printable(wheels)} holds no wheels: fill it with pip download, see docs/benchmark.md")
    say(f"connecting to {device.host}")
    python, folder = _probe(device)
    try:
        with scratch_folder() as temporary:
            bundle = _bundle(temporary / "bundle", _files(wanted), common.images, wheels)
            say(f"copying {_megabytes(bundle):.0f} MB to {device.host}")
            device.send("copying to", bundle, folder)
            environment = f'"$HOME"/.cache/edgessd/venv-{_fingerprint(bundle)}'
            say(f"installing on {device.host} (minutes, the first time)")
            _install(device, f"{folder}/bundle", python, environment, offline=wheels is not None)
            say(f"measuring on {device.host}")
            _measure(device, f"{folder}/bundle", environment, wanted, common, timeout)
            device.fetch("fetching the report from", f"{folder}/bundle/report.json", temporary / "report.json")
            report = read_report(temporary / "report.json")
    finally:
        with suppress(DeviceError):
            device.run("tidying up", f"rm -rf -- {shlex.quote(folder)}", timeout=30)
    return _rename_models(report, device.host, wanted.models)


def _probe(device: Ssh) -> tuple[str, str]:
    answer = device.run("looking for Python", PROBE, timeout=60)
    if answer.code == 41:
        raise DeviceError(f"{device.host} has no Python: install it there (apt-get install python3 python3-venv)")
    words = next((line.split() for line in answer.output.splitlines() if line.startswith("edgessd-answer ")), [])
    if answer.code == 42:
        found = " ".join(words[1:]) or "an older one"
        raise DeviceError(f"{device.host} has {printable(found)}, edgessd needs Python 3.11 or newer")
    if answer.code or len(words) != 3 or not words[2].startswith("/"):
        raise DeviceError(
            f"{device.host} cannot make a folder in ~/.cache/edgessd: {printable(answer.errors.strip()) or 'no answer'}"
        )
    return words[1], words[2]


def _files(wanted: Wanted) -> list[Path]:
    """Return the model files that travel; of bundled models, which the wheel has, those that bring LiteRT along."""
    light = any(engine.partition(":")[0] in ("all", "cpu", "litert") for engine in wanted.runtimes)
    return [file for model in wanted.models for file in (model_files(model) if light else model_files(model)[:1])]


def _there(model: str) -> str:
    """Return a model's name on the device: a bundled one is in the wheel."""
    return model if model in bundled_models() else f"models/{resolve_model(model).name}"


def _bundle(folder: Path, models: Sequence[Path], images: Sequence[str], wheels: Path | None) -> Path:
    write_bundle(models, folder)
    (folder / "images").mkdir()
    for number, image in enumerate(images):
        source = Path(image)
        if source.is_file():  # an unreadable one is left out, as it is here
            copy_part(source, folder / "images" / f"{number:04}{source.suffix.lower()}")
    if wheels is not None:
        (folder / "wheels").mkdir()
        for wheel in wheels.glob("*.whl"):
            copy_part(wheel, folder / "wheels" / wheel.name)
    return folder


def _fingerprint(bundle: Path) -> str:
    """Name of the environment: another one where other packages are needed."""
    return hashlib.sha256((bundle / "requirements.txt").read_bytes()).hexdigest()[:12]


def _install(device: Ssh, folder: str, python: str, environment: str, *, offline: bool) -> None:
    command = (
        f"cd {shlex.quote(folder)} && PYTHON={shlex.quote(python)} VENV={environment} "
        f"sh ./install.sh{' --offline wheels' if offline else ''}"
    )
    answer = device.run("installing", command)
    if answer.code:
        hint = "" if offline else "; a device without network needs --wheels DIR"
        raise DeviceError(f"installing on {device.host} failed: {_error_of(answer.errors)}{hint}")


def _measure(device: Ssh, folder: str, environment: str, wanted: Wanted, common: Task, timeout: float) -> None:
    options = [
        "benchmark",
        *map(_there, wanted.models),
        f"--runtimes={','.join(wanted.runtimes)}",
        f"--threads={','.join(str(count or 0) for count in wanted.threads)}",
        f"--batch={','.join(map(str, wanted.batches))}",
        f"--runs={common.runs}",
        f"--seconds={common.seconds:g}",
        f"--timeout={timeout:g}",
        "--images=images",
        "--json=report.json",
    ]
    if wanted.precisions:
        options.append(f"--precision={','.join(wanted.precisions)}")
    words = " ".join(shlex.quote(option) for option in options)
    answer = device.run("measuring", f"cd {shlex.quote(folder)} && {environment}/bin/python -m edgessd {words}")
    if answer.code:
        raise DeviceError(f"measuring on {device.host} failed: {_error_of(answer.errors)}")


def _rename_models(report: Report, host: str, models: Sequence[str]) -> Report:
    """Give rows the machine's name, and the models the names they have here."""
    names = {resolve_model(model).name: model for model in models}
    for machine in report.machines:
        machine.name = host
    for row in report.rows:
        row.machine = host
        row.model = names.get(row.model.rsplit("/", 1)[-1], row.model)
    return report


def side_by_side(here: Report, there: Report) -> Report:
    """Return one report in which the rows of the same combination stand together."""
    order: dict[object, int] = {}
    for row in (*here.rows, *there.rows):
        order.setdefault(row.key, len(order))
    rows = sorted([*here.rows, *there.rows], key=lambda row: order[row.key])
    return msgspec.structs.replace(here, rows=rows, machines=[*here.machines, *there.machines])


def _error_of(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return printable((errors or lines or ["no reason given"])[-1], 400)


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6

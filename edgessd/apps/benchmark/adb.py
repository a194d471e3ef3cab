"""LiteRT's own benchmark program on an Android phone, driven by adb: the time of the network alone."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from edgessd.apps.benchmark.measure import file_size
from edgessd.apps.benchmark.records import Machine, Report, Row, Stage, Task
from edgessd.errors import DependencyError, DeviceError, EdgeSSDError, OptionError, printable
from edgessd.model_file import read_spec, runtimes_for
from edgessd.zoo import resolve_model

FOLDER = "/data/local/tmp"
PROGRAM = f"{FOLDER}/benchmark_model"
WHERE = (
    "fetch android_aarch64_benchmark_model (LiteRT's page on performance measurement links to it) and give it with "
    "--benchmark-model FILE"
)
TIMES = re.compile(
    r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+).*Inference \(avg\): ([\d.e+]+)"
)
COUNT = re.compile(r"\bcount=(\d+) ([^\n]*)")
FELL_BACK = "will not be executed by the delegate"
MEMORY = re.compile(r"Memory footprint delta.*?overall=([\d.]+)")
PHONE = (
    "benchmark_model measures the network alone, without pre- and postprocessing; p90 is its 95th percentile, "
    "p99 its maximum"
)
DELEGATES = {"": "", "gpu": "--use_gpu=true", "nnapi": "--use_nnapi=true"}


class Phone:
    """The phone that adb knows. device: `adb`, or `adb:SERIAL` where there are several."""

    def __init__(self, device: str) -> None:
        serial = device.removeprefix("adb").removeprefix(":")
        self._command = ["adb", *(["-s", serial] if serial else [])]
        self.name = serial or "phone"

    def call(self, step: str, *arguments: str, timeout: float | None = 60) -> str:
        """Run adb and return what it printed. Raises DeviceError, DependencyError where adb is not there."""
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout,
            )  # fmt: skip
        except FileNotFoundError:
            raise DependencyError("there is no adb on this machine: apt-get install adb") from None
        except subprocess.TimeoutExpired:
            raise DeviceError(f"the phone did not answer in {timeout:g} s while {step}") from None
        if done.returncode:
            raise DeviceError(self._reason(step, f"{done.stderr}\n{done.stdout}"))
        return done.stdout + done.stderr

    def _reason(self, step: str, said: str) -> str:
        if "no devices" in said or ("not found" in said and "device" in said):
            return "adb finds no phone: plug it in, switch USB debugging on, and accept this computer on its screen"
        if "unauthorized" in said:
            return "the phone does not trust this computer yet: accept it on its screen"
        if "more than one device" in said:
            return "adb knows several phones: choose one with --device adb:SERIAL, see `adb devices`"
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return f"{step} failed: {printable(lines[-1]) if lines else 'adb says nothing'}"


def measure_on_phone(
    phone: Phone,
    models: Sequence[str],
    engines: Sequence[str],
    threads: Sequence[int | None],
    common: Task,
    program: Path | None,
    say: Callable[[str], object] = lambda text: None,
) -> Report:
    """Measure the TFLite files among `models`; `run` and `total` are the network alone, see `PHONE`.

    engines: `all`, `cpu`, `litert`, `litert:gpu` or `litert:nnapi`. program: benchmark_model, where it is not on the
    phone yet. Raises EdgeSSDError where phone or program cannot be used; a model that fails is a row.
    """
    delegates = _delegates(engines)
    say("asking the phone")
    machine = _describe(phone)
    if program is not None:
        phone.call("copying benchmark_model", "push", str(program), PROGRAM, timeout=300)
        phone.call("copying benchmark_model", "shell", f"chmod 755 {PROGRAM}")
    elif "yes" not in phone.call("looking for benchmark_model", "shell", f"test -x {PROGRAM} && echo yes || echo no"):
        raise DeviceError(f"{PROGRAM} is not on the phone: {WHERE}")
    rows = []
    for model in models:
        try:
            path = resolve_model(model, "litert")
            if "litert" not in runtimes_for(path):
                raise OptionError(f"{path.name} is no TFLite file: benchmark_model runs nothing else")
            spec = read_spec(path)
        except EdgeSSDError as error:
            rows.append(Row(machine=phone.name, model=model, runtime="litert", status="failed", reason=str(error)))
            continue
        target = f"{FOLDER}/edgessd-benchmark.tflite"
        phone.call(f"copying {path.name}", "push", str(path), target, timeout=300)
        for delegate in delegates:
            for count in threads if not delegate else (None,):
                say(f"measuring {path.name} on {phone.name}")
                row = _measure(phone, target, delegate, count, common)
                row.machine, row.model, row.size = phone.name, model, file_size(path)
                row.precision = "int8" if spec.quantization else spec.precision
                row.input = f"{spec.input.width}x{spec.input.height}"
                rows.append(row)
        phone.call("tidying up", "shell", f"rm -f {target}")
    return Report(machines=[machine], rows=rows)


def _delegates(engines: Sequence[str]) -> list[str]:
    found = []
    for engine in engines:
        runtime, _, delegate = engine.partition(":")
        if engine in ("all", "cpu", "litert", "litert:cpu"):
            found.append("")
        elif runtime == "litert" and delegate in DELEGATES:
            found.append(delegate)
        else:
            raise OptionError(f"a phone runs litert, litert:gpu or litert:nnapi, not {printable(engine)!r}")
    return list(dict.fromkeys(found))


def _measure(phone: Phone, target: str, delegate: str, threads: int | None, common: Task) -> Row:
    runtime = f"litert:{delegate}" if delegate else "litert"
    row = Row(model=target, runtime=runtime, engine="benchmark_model", threads=threads)
    options = [f"--graph={target}", f"--num_runs={common.runs}", f"--warmup_runs={common.warmup}"]
    options += [f"--max_secs={common.seconds:g}", f"--num_threads={threads}" if threads else "", DELEGATES[delegate]]
    words = " ".join(shlex.quote(option) for option in options if option)
    try:
        said = phone.call("measuring", "shell", f"{PROGRAM} {words} 2>&1", timeout=600)
    except DeviceError as error:
        row.status, row.reason = "failed", str(error)
        return row
    parse(said, row)
    return row


def parse(said: str, row: Row) -> None:
    """Read benchmark_model's answer into a row: microseconds to milliseconds; the last `count=` line has the runs."""
    times, counts = TIMES.search(said), COUNT.findall(said)
    if times is None or not counts:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        row.status, row.reason = "failed", f"benchmark_model: {printable(lines[-1]) if lines else 'no answer'}"
        return
    if FELL_BACK in said:
        row.status, row.reason = (
            "absent",
            f"not present: the phone's {row.runtime.partition(':')[2]} refuses this model",
        )
        return
    row.load, row.first = float(times[1]) / 1e3, float(times[2]) / 1e3
    average = float(times[3]) / 1e3
    row.runs, figures = int(counts[-1][0]), counts[-1][1]
    median, most = _figure(figures, "median"), _figure(figures, "max")
    stage = Stage(median or average, _figure(figures, "p95") or most or average, most or average)
    row.stages = {"run": stage, "total": stage}
    row.rate = 1e3 / average
    row.notes = [PHONE if median else f"{PHONE}; it gives the mean in place of the median"]
    memory = MEMORY.search(said)
    row.memory_model = float(memory[1]) if memory else None


def _figure(text: str, name: str) -> float | None:
    found = re.search(rf"\b{name}=([\d.e+]+)", text)
    return float(found[1]) / 1e3 if found else None


def _describe(phone: Phone) -> Machine:
    def ask(name: str) -> str:
        return printable(phone.call("asking the phone", "shell", f"getprop {name}").strip(), 80)

    cores = phone.call("asking the phone", "shell", "nproc").strip()
    return Machine(
        name=phone.name,
        processor=ask("ro.soc.model") or ask("ro.board.platform") or "unknown",
        cores=int(cores) if cores.isdigit() else 1,
        architecture=ask("ro.product.cpu.abi"),
        board=f"{ask('ro.product.manufacturer')} {ask('ro.product.model')}".strip(),
        system=f"Android {ask('ro.build.version.release')}",
    )

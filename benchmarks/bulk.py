"""What Ray costs and what it keeps: `edgessd bulk` beside plain processes, and its memory over many pictures.

    python benchmarks/bulk.py FOLDER... [--limit 600] [--workers 2] [--rounds 1] [--out bulk.json]
    python benchmarks/bulk.py FOLDER... --repeat 100000 [--workers 2] [--out memory.csv] [--plot memory.png]

The first form: N plain processes with one thread each detect in every Nth picture (they start together, when all have
loaded their model, and write nothing), then `detect_many` with N workers in all of them; both after start-up, in turns.
Every row is held against what the plain processes found; a difference ends the program with 1.

The second form: the pictures are named again and again until there are so many; while `edgessd bulk` works on them,
the private memory (RssAnon) of the driver, of the workers and of the reading processes, and the shared memory of Ray's
object store, are written down every `--every` seconds. It prints by how much the driver and the workers grew from the
end of the first fifth to the end, and exits with 1 for more than 10 % and 16 MiB. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from edgessd.apps.benchmark.machine import describe_machine
from edgessd.apps.bulk.job import BATCH_SIZE
from edgessd.io.files import write_text_atomic
from edgessd.io.sources import expand

ROLES = {
    "driver": "driver",
    "worker": "workers (largest)",
    "reader": "reading (largest)",
    "store": "object store (as mapped)",
}


def plain(paths: list[str], answer: Path) -> None:
    """One plain process: load, say so, wait for the word, detect, write what was found."""
    from edgessd import Detector
    from edgessd._cv2 import cv2

    cv2.setNumThreads(1)
    detector = Detector.load(threads=1)
    print("ready", flush=True)
    sys.stdin.readline()
    found = [(path, detector(path)) for path in paths]
    print("done", flush=True)
    rows = {path: [each.boxes.tolist(), each.scores.tolist(), each.labels.tolist()] for path, each in found}
    answer.write_text(json.dumps(rows))


def run_plain(paths: list[str], count: int, folder: Path) -> tuple[float, dict[str, Any]]:
    """Pictures per second of `count` plain processes together, and what they found."""
    started = []
    for number in range(count):
        names = folder / f"{number}.txt"
        names.write_text("\n".join(paths[number::count]))
        line = [sys.executable, __file__, "--plain", str(names)]
        started.append(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    begun = time.perf_counter()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "done\n"
    seconds = time.perf_counter() - begun
    rows: dict[str, Any] = {}
    for number, process in enumerate(started):
        if process.wait():
            raise SystemExit("a plain process failed")
        rows |= json.loads((folder / f"{number}.json").read_text())
    return len(paths) / seconds, rows


def compare(paths: list[str], workers: int, rounds: int, batch_size: int) -> dict[str, Any]:
    """Both, in turns; the rates of each round, and the number of rows that differ."""
    from edgessd.apps.bulk import detect_many
    from edgessd.apps.bulk.manifest import finished_blocks, part_name
    from edgessd.apps.bulk.rows import read_rows
    from edgessd.apps.bulk.storage import Storage

    results: dict[str, Any] = {"pictures": len(paths), "workers": workers, "plain": [], "bulk": [], "start": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            rate, wanted = run_plain(paths, workers, Path(folder))
            output = f"{folder}/out"
            done = detect_many(paths, output, workers=workers, batch_size=batch_size)
            storage = Storage(output)
            rows = [row for block in finished_blocks(storage) for row in read_rows(storage, part_name(block))]
            size = sum(path.stat().st_size for path in Path(output).glob("part-*"))
        wrong = [row.path for row in rows if [row.boxes, row.scores, row.labels] != wanted[row.path]]
        if wrong or [row.path for row in rows] != paths:
            raise SystemExit(f"{len(wrong)} of {len(rows)} rows differ, such as {wrong[:1]}")
        results["plain"].append(rate)
        results["bulk"].append(done.rate)
        results["start"].append(done.start_seconds)
        results["bytes_per_row"] = size / len(rows)
        stages = [row.milliseconds for row in rows if row.milliseconds is not None]
        results["milliseconds"] = {name: median(each[name] for each in stages) for name in stages[0]}
        print(
            f"plain {rate:6.1f}/s   bulk {done.rate:6.1f}/s after {done.start_seconds:.1f} s   "
            f"ratio {done.rate / rate:.3f}   all {len(rows)} rows equal",
            flush=True,
        )
    results["ratio"] = median(results["bulk"]) / median(results["plain"])
    return results


def memory_of(pid: int) -> tuple[float, float]:
    """Private and shared memory of a process in MiB; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    found = {name: int(size) / 1024 for name, size in re.findall(r"(RssAnon|RssShmem):\s+(\d+)", status)}
    return found.get("RssAnon", 0.0), found.get("RssShmem", 0.0)


def sample(driver: int) -> dict[str, float]:
    """Memory by role, in MiB."""
    found = dict.fromkeys(ROLES, 0.0)
    found["driver"] = memory_of(driver)[0]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"ray::"):
            role = "worker" if line.startswith(b"ray::MapWorker") else "reader"
            private, shared = memory_of(int(entry.name))
            found[role] = max(found[role], private)
            found["store"] = max(found["store"], shared)
    return found


def soak(paths: list[str], count: int, workers: int, batch_size: int, every: float, out: Path) -> bool:
    """Run on `count` pictures and write down the memory; whether it stayed flat."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "list.txt"
        with names.open("w") as file:
            for number in range(count):
                file.write(f"{Path(paths[number % len(paths)]).absolute()}\n")
        line = [sys.executable, "-m", "edgessd", "bulk", str(names), "-o", f"{folder}/out", "--workers", str(workers)]
        driver = subprocess.Popen([*line, "--batch-size", str(batch_size)])
        begun = time.monotonic()
        rows = []
        with out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["seconds", "pictures", *ROLES])
            while driver.poll() is None:
                time.sleep(every)
                done = sum(1 for _ in Path(folder, "out").glob("part-*")) * batch_size
                found = sample(driver.pid)
                if 0 < done < count:
                    rows.append((time.monotonic() - begun, done, *found.values()))
                    writer.writerow([round(value, 1) for value in rows[-1]])
                    file.flush()
        if driver.returncode:
            raise SystemExit(f"edgessd bulk ended with {driver.returncode}")
    fifth = max(1, len(rows) // 5)
    flat = True
    for place, role in ((2, "driver"), (3, "worker")):
        before, after = (median(row[place] for row in part) for part in (rows[fifth : 2 * fifth], rows[-fifth:]))
        flat &= after - before <= max(16, 0.1 * before)
        print(f"{role}: {before:.1f} MiB in the second fifth, {after:.1f} MiB in the last")
    return flat


def draw(table: Path, target: Path) -> None:
    """Memory over pictures, one line for each role."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = list(csv.DictReader(table.read_text().splitlines()))
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for role, label in ROLES.items():
        axes.plot([float(row["pictures"]) for row in rows], [float(row[role]) for row in rows], label=label)
    axes.set(xlabel="pictures done", ylabel="MiB", title="Memory of `edgessd bulk`", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(target, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", help="folders or patterns of pictures")
    parser.add_argument("--limit", type=int, help="only the first pictures")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repeat", type=int, help="so many pictures in all, and measure memory")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two measurements of memory")
    parser.add_argument("--out", type=Path, help="JSON of the comparison, CSV of the memory")
    parser.add_argument("--plot", type=Path, help="PNG of the memory")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.plain is not None:
        plain(args.plain.read_text().splitlines(), args.plain.with_suffix(".json"))
        return
    paths = [str(path) for path in expand(args.sources)][: args.limit]
    if args.repeat is not None:
        out = args.out or Path("bulk_memory.csv")
        flat = soak(paths, args.repeat, args.workers, args.batch_size, args.every, out)
        if args.plot is not None:
            draw(out, args.plot)
        sys.exit(not flat)
    results = compare(paths, args.workers, args.rounds, args.batch_size)
    print(f"ratio {results['ratio']:.3f}, {results['bytes_per_row']:.0f} bytes a row, ms {results['milliseconds']}")
    if args.out is not None:
        document = {"machine": msgspec.structs.asdict(describe_machine()), **results}
        write_text_atomic(args.out, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

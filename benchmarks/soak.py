"""Whether the camera can run for ever: memory, threads and open files over time.

    python benchmarks/soak.py --source clip.mp4 --minutes 60 [--frames 100000] [--out soak.csv] [-- --track --web 0]

Starts `python -m edgessd.apps.camera --loop` on the source (what stands behind `--` goes to it as it is), and writes a
line to the CSV file at once every `--every` seconds: seconds, frames, resident memory, threads, open files. At the end
it prints how much each grew from the end of the first fifth (warm-up) to the end, and exits with 1 when memory grew by
more than 5 % and 8 MiB, or threads or files by more than two. Linux only. A run that was cut off goes on in the same
file: the time that stands there counts.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

COLUMNS = ("seconds", "frames", "rss_mib", "threads", "files")


def sample(pid: int) -> tuple[float, int, int]:
    """Resident memory in MiB, threads and open files of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    rss = re.search(r"VmRSS:\s+(\d+)", status)
    threads = re.search(r"Threads:\s+(\d+)", status)
    assert rss is not None and threads is not None
    return int(rss.group(1)) / 1024, int(threads.group(1)), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> None:
    """Run it."""
    arguments, extra = sys.argv[1:], []
    if "--" in arguments:
        place = arguments.index("--")
        arguments, extra = arguments[:place], arguments[place + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="demo")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--frames", type=int, help="end after so many frames")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two lines")
    parser.add_argument("--out", type=Path, default=Path("soak.csv"))
    options = parser.parse_args(arguments)

    before = list(csv.DictReader(options.out.open())) if options.out.exists() else []
    spent = float(before[-1]["seconds"]) if before else 0.0
    frames = int(before[-1]["frames"]) if before else 0
    pipe_read, pipe_write = os.pipe()  # one JSON line per frame comes through it, and is only counted
    os.set_blocking(pipe_read, False)
    command = [sys.executable, "-m", "edgessd.apps.camera", "--source", options.source, "--loop", "--no-window"]
    process = subprocess.Popen([*command, "--json", "-", *extra], stdout=pipe_write)
    os.close(pipe_write)
    begun = time.monotonic()
    next_line = begun + options.every
    with options.out.open("a", newline="") as file:
        writer = csv.writer(file)
        if not before:
            writer.writerow(COLUMNS)
        try:
            while process.poll() is None:
                time.sleep(0.05)
                try:
                    while data := os.read(pipe_read, 1 << 20):
                        frames += data.count(b"\n")
                except BlockingIOError:
                    pass
                elapsed = spent + time.monotonic() - begun
                if time.monotonic() >= next_line:
                    next_line += options.every
                    rss, threads, files = sample(process.pid)
                    writer.writerow((round(elapsed, 1), frames, round(rss, 1), threads, files))
                    file.flush()
                if elapsed > options.minutes * 60 or (options.frames and frames >= options.frames):
                    break
        except KeyboardInterrupt:
            pass
        finally:
            process.send_signal(signal.SIGINT)
            os.set_blocking(pipe_read, True)
            while os.read(pipe_read, 1 << 20):  # until it has ended
                pass
            process.wait(30)
    sys.exit(report(options.out))


def report(out: Path) -> int:
    """Print how each figure grew; 1 when one grew too much."""
    rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(out.open())]
    if len(rows) < 10:
        print(f"{out}: {len(rows)} lines are too few to say anything")
        return 1
    early = rows[len(rows) // 5 : len(rows) // 5 + max(1, len(rows) // 10)]
    late = rows[-max(1, len(rows) // 10) :]
    bad = False
    print(f"{rows[-1]['seconds'] / 60:.1f} minutes, {rows[-1]['frames']:.0f} frames")
    for name in COLUMNS[2:]:
        first, last = (median(row[name] for row in part) for part in (early, late))
        peak = max(row[name] for row in rows)
        print(f"{name:8} after warm-up {first:.1f}, at the end {last:.1f}, peak {peak:.1f}")
        grown = last - first
        bad |= grown > max(8.0, 0.05 * first) if name == "rss_mib" else grown > 2
    return int(bad)


if __name__ == "__main__":
    main()

"""Run every client on every file that it takes, and write the table of docs/clients.md.

python -m tests.clients                  all of them; --page writes the table into the page
python -m tests.clients MediaPipe OpenCV those whose name begins so
python -m tests.clients --clean          removes the environments and files
"""

from __future__ import annotations

import argparse
import sys

from .clients import CLIENTS
from .environments import clean
from .outcome import MissingError
from .page import Row, lines, write
from .run import pictures, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names; none means all clients")
    parser.add_argument("--page", action="store_true", help="write the table into docs/clients.md")
    parser.add_argument("--clean", action="store_true", help="remove environments and files, and do nothing else")
    options = parser.parse_args()
    if options.clean:
        clean()
        return 0
    chosen = [
        client for client in CLIENTS if client.name.lower().startswith(tuple(map(str.lower, options.names or [""])))
    ]
    if not chosen or (options.page and options.names):
        parser.error("--page takes all clients" if chosen else f"no client begins with {' or '.join(options.names)}")
    images = pictures()
    rows, bad = [], 0
    for client in chosen:
        for file in client.files:
            try:
                row = Row(client, file, run(client, file, images))
            except MissingError as reason:
                row = Row(client, file, None, str(reason))
            print(lines([row])[-1], flush=True)
            rows.append(row)
            bad += not row.as_known
    if options.page:
        write(rows, len(images))
    print(f"{len(rows)} runs on {len(images)} pictures, {bad} not as the list of clients says")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

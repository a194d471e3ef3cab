"""How every command line of edgessd ends: a user's mistake is one line and exit code 2."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import typer

from edgessd.errors import EdgeSSDError


def run(module: str, *first: str) -> NoReturn:
    """Run the typer app `module.app` with `first` and the arguments of the line, and exit.

    The exit code is 0; 2, with one line on stderr, for our errors; 130 after Ctrl-C. The module is imported here,
    so that a missing system library is one of those errors, too.
    `--debug` anywhere on the line shows the traceback of our errors as well. Any other exception
    is a fault of edgessd and shows its traceback.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) != len(sys.argv) - 1
    try:
        app: typer.Typer = importlib.import_module(module).app
        app(args=[*first, *arguments], prog_name="edgessd")
    except EdgeSSDError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) went away: nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)

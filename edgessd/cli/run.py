"""How every command line of edgessd ends: a user's mistake is one line and exit code 2."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import typer

from edgessd._signals import raise_on_signals, stopped_by
from edgessd.errors import EdgeSSDError
from edgessd.io import streams


def run(module: str, *first: str) -> NoReturn:
    """Run the typer app `module.app` with `first` and the arguments of the line, and exit.

    The exit code is 0; 2, with one line on stderr, for our errors; 130 after Ctrl-C, 143 after SIGTERM, 129 after
    SIGHUP. The module is imported here, so that a missing system library is one of those errors, too.
    `--debug` anywhere on the line shows the traceback of our errors as well. Any other exception
    is a fault of edgessd and shows its traceback.
    """
    streams.take_over()
    raise_on_signals()  # to the very end: one more signal while the program ends is the same wish
    lost = None
    try:
        code = _run(module, first)
        lost = streams.finish()
    except KeyboardInterrupt as error:
        code = _code(error)
    if lost is not None and code == 0:
        print(f"error: {lost}", file=sys.stderr)
        code = 2
    sys.exit(code)


def _run(module: str, first: tuple[str, ...]) -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) != len(sys.argv) - 1
    try:
        app: typer.Typer = importlib.import_module(module).app
        app(args=[*first, *arguments], prog_name="edgessd")
    except EdgeSSDError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit) as error:  # typer ends with the latter, also after the former
        return _code(error)
    except BrokenPipeError:  # the reader of what we printed went away: nothing is wrong
        return 0
    return 0


def _code(error: BaseException) -> int:
    """Return the exit code, and say that a signal ended the command where nothing else has."""
    wish = stopped_by(error)
    if wish is not None:
        if not wish.told:
            print(wish, file=sys.stderr)
        return 128 + wish.signal
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 130

"""Entry point of the `edgessd` command."""

from edgessd.cli.noise import drop_noise
from edgessd.cli.run import run


def main(*command: str) -> None:
    """Run the `edgessd` command with its arguments, behind the words of `command` where there are some."""
    drop_noise()
    run("edgessd.cli.app", *command)

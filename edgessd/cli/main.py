"""Entry point of the `edgessd` command."""

from edgessd.cli.run import run


def main() -> None:
    """Run the `edgessd` command."""
    run("edgessd.cli.app")

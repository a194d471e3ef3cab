"""`python -m edgessd` is the `edgessd` command."""

from edgessd.cli.main import main

main()

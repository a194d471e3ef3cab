"""`python -m edgessd.apps.camera`: `edgessd camera`."""

from edgessd.cli.main import main

if __name__ == "__main__":
    main("camera")

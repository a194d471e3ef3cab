"""`python -m edgessd.apps.camera`."""

from edgessd.cli.run import run

if __name__ == "__main__":
    run("edgessd.apps.camera.app")

"""Programs over `Detector`: each is a package that runs with `python -m edgessd.apps.NAME`."""

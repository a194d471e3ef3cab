"""The `edgessd` command: thin calls into the packages that do the work."""

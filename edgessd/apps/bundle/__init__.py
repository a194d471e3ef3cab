"""What a device needs, in one folder: the package as a wheel, models, requirements, start script and systemd unit."""

from edgessd.apps.bundle.bundle import write_bundle

__all__ = ["write_bundle"]

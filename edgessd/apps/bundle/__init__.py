"""A model and everything it needs, in one folder: for a device (the package as a wheel, models, requirements, start
script and systemd unit) or for a browser (a static page with its runtime).
"""

from edgessd.apps.bundle.bundle import write_bundle
from edgessd.apps.bundle.page import write_page

__all__ = ["write_bundle", "write_page"]

"""A model and everything it needs, in one folder: for a device (the package as a wheel, models, requirements, start
script and systemd unit), for a browser (a static page with its runtime) or for Frigate (a model for each detector); or
source code for a program of one's own.
"""

from edgessd.apps.bundle.bundle import write_bundle
from edgessd.apps.bundle.code import write_android, write_c
from edgessd.apps.bundle.frigate import write_frigate
from edgessd.apps.bundle.page import write_page

__all__ = ["write_android", "write_bundle", "write_c", "write_frigate", "write_page"]

"""Options said once: a struct declares them, a command line and a TOML file give them.

    class Settings(Struct, frozen=True, kw_only=True):
        every: Annotated[Count, Option("Only each N-th frame.")] = 1

    >>> describe(Settings)[0].key
    'every'
    >>> read_toml(Path("camera.toml"), Settings)
    {'every': 3}

`edgessd.cli.struct_command` makes a command of such a struct.
"""

from edgessd.options import shared as shared
from edgessd.options.declare import Field as Field
from edgessd.options.declare import Option as Option
from edgessd.options.declare import check as check
from edgessd.options.declare import describe as describe
from edgessd.options.toml import located as located
from edgessd.options.toml import read_toml as read_toml
from edgessd.options.toml import to_toml as to_toml

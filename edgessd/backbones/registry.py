"""Names of backbones: `vgg16`, `timm:NAME`, `torchvision:NAME`, and those that users register.

A plain name belongs to one factory; a name with a colon to the factory of the family before it, which
gets the rest of the name as its first argument. Families are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeVar

from edgessd.backbones.base import Backbone
from edgessd.errors import OptionError, did_you_mean

Option = str | int | float | bool | tuple[int, ...]
Factory = Callable[..., Backbone]
_F = TypeVar("_F", bound=Callable[..., Backbone])

_factories: dict[str, Factory] = {}
_families: dict[str, tuple[Factory, Callable[[], list[str]]]] = {}
_builtin = {
    "vgg16": "edgessd.backbones.vgg16",
    "torchvision": "edgessd.backbones.torchvision",
    "timm": "edgessd.backbones.timm",
}


def register_backbone(name: str) -> Callable[[_F], _F]:
    """Register a function or class that returns a `Backbone` under `name`; its keyword arguments are the options.

    >>> @register_backbone("mine")
    ... class Mine(Backbone): ...

    Raises OptionError where the name is taken or holds a colon (those belong to families).
    """

    def register(factory: _F) -> _F:
        if ":" in name:
            raise OptionError(f"a backbone's name must not hold a colon: {name!r}")
        # A module that is executed again (importlib.reload, notebooks) replaces its own entry.
        taken = _factories.get(name)
        if (taken is not None and taken.__module__ != factory.__module__) or _builtin_elsewhere(name, factory):
            raise OptionError(f"a backbone named {name!r} exists already: choose another name")
        _factories[name] = factory
        return factory

    return register


def register_family(prefix: str, members: Callable[[], list[str]]) -> Callable[[_F], _F]:
    """Register a factory for all names `prefix:NAME`; `members` lists the NAMEs."""

    def register(factory: _F) -> _F:
        _families[prefix] = (factory, members)
        return factory

    return register


def _builtin_elsewhere(name: str, factory: Factory) -> bool:
    return name in _builtin and factory.__module__ != _builtin[name]


def _load(name: str) -> None:
    if name in _builtin and name not in _factories and name not in _families:
        importlib.import_module(_builtin[name])


def list_backbones(pattern: str = "*") -> list[str]:
    """Return the names of all backbones that match `pattern` (`*` and `?` as in file names), sorted.

    All timm architectures are listed; those that offer no feature maps say so when they are created.
    """
    for name in _builtin:
        _load(name)
    names = list(_factories)
    for prefix, (_, members) in _families.items():
        names += [f"{prefix}:{member}" for member in members()]
    return sorted(name for name in names if fnmatchcase(name, pattern))


def create_backbone(name: str, /, **options: Option) -> Backbone:
    """Return a new backbone with random weights.

    Raises OptionError for an unknown name, with near ones, and for options that this backbone does not have.
    """
    prefix, colon, member = name.partition(":")
    _load(prefix)
    if colon and prefix in _families:
        factory, members = _families[prefix]
        known = members()
        if member.split(".")[0] not in known:
            near = did_you_mean(name, [f"{prefix}:{other}" for other in known])
            raise OptionError(f"unknown backbone {name!r}{near}: `list_backbones('{prefix}:*')` has all names")
        return _call(name, factory, options, member)
    if name in _factories:
        return _call(name, _factories[name], options)
    names = list_backbones()
    same = [known for known in names if known.partition(":")[2] == name]  # the prefix was forgotten
    raise OptionError(f"unknown backbone {name!r}{did_you_mean(same[0] if same and name else name, names)}")


def _call(name: str, factory: Factory, options: dict[str, Option], *leading: str) -> Backbone:
    signature = inspect.signature(factory)
    known = list(signature.parameters)[len(leading) :]
    for option in options:
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise OptionError(f"backbone {name} has no option {option!r}{did_you_mean(option, known)}: {has}")
    return factory(*leading, **options)

"""Which class of one list of names is which of another: the one place where names become other labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgessd.classes.aliases import canonical
from edgessd.errors import OptionError, did_you_mean, printable

NO_CLASSES = "classes names none, so that nothing could be found: name some, or leave it out for all"


class ClassMap:
    """How the classes of one list (`source`, such as a model's) meet those of another (`target`, such as a data set's).

    The same spelling goes first. Then, in the order of `source`, each name that is left takes the first one left in
    `target` that means the same (`canonical`: another case, or `tv` for `tvmonitor`). No name is used twice.

    source, target: the names, by label.
    table: [len(source)] int64: the label in `target` of each label of `source`, -1 for a class without a partner.

    Raises OptionError where a list has the same name twice.

    >>> names = ClassMap(["aeroplane", "dog", "kerb"], ["dog", "airplane", "cat"])
    >>> names.pairs
    (('aeroplane', 'airplane'), ('dog', 'dog'))
    >>> names.only_source, names.only_target
    (('kerb',), ('cat',))
    >>> names.labels(np.array([0, 0, 2]))
    array([ 1,  1, -1])
    """

    def __init__(self, source: Iterable[str], target: Iterable[str]) -> None:
        self.source, self.target = tuple(source), tuple(target)
        self.table = np.array(_partners(self.source, self.target), np.int64).reshape(-1)
        self.table.flags.writeable = False

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(name in `source`, name in `target`) of the classes that both have, in the order of `source`."""
        return tuple((self.source[label], self.target[self.table[label]]) for label in np.flatnonzero(self.table >= 0))

    @property
    def label_of(self) -> dict[str, int]:
        """The label in `target` of each name of `source` that has a partner."""
        return {name: label for name, label in zip(self.source, self.table.tolist(), strict=True) if label >= 0}

    @property
    def spelling(self) -> tuple[str, ...]:
        """The names of `source` as `target` spells them; those without a partner as they are."""
        partner = dict(self.pairs)
        return tuple(partner.get(name, name) for name in self.source)

    @property
    def only_source(self) -> tuple[str, ...]:
        """Names of `source` that `target` lacks."""
        return tuple(name for name, label in zip(self.source, self.table, strict=True) if label < 0)

    @property
    def only_target(self) -> tuple[str, ...]:
        """Names of `target` that `source` lacks."""
        used = set(self.table.tolist())
        return tuple(name for label, name in enumerate(self.target) if label not in used)

    def labels(self, labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return labels of `source`, of any shape, as labels of `target`; -1 for those of classes without a partner."""
        if not len(self.source):
            return np.full(labels.shape, -1, np.int64)
        mapped: NDArray[np.int64] = self.table[labels]
        return mapped


def class_labels(names: str | Iterable[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the labels of these class names, sorted, each once; names are found as `ClassMap` finds them.

    names: one name, or any iterable of names, numpy's strings and arrays included.
    Raises OptionError for a name that `classes` lacks, for what is no name, and for no name at all.
    """
    try:
        if isinstance(names, np.ndarray):
            names = names.ravel().tolist()
        given = [names] if isinstance(names, (str, bytes)) else list(names)
    except TypeError:
        raise OptionError(f"classes must be names, not {printable(repr(names), 60)}") from None
    exact = {name: label for label, name in enumerate(classes)}
    found = set()
    for name in given:
        if not isinstance(name, str):
            raise OptionError(f"classes are given by name, not as {printable(repr(name), 60)}: see `edgessd info`")
        label = exact[name] if name in exact else int(ClassMap([name], classes).table[0])
        if label < 0:
            near = did_you_mean(name, classes)
            raise OptionError(f"the model has no class {printable(name, 60)!r}{near}: see `edgessd info`")
        found.add(label)
    if not found:
        raise OptionError(NO_CLASSES)
    return np.array(sorted(found), np.int64)


def _partners(source: tuple[str, ...], target: tuple[str, ...]) -> list[int]:
    """The label in `target` of each name of `source`, or -1."""
    index = {name: label for label, name in enumerate(target)}
    for names in (source, target):
        if len(set(names)) != len(names):
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            raise OptionError(f"the class {printable(twice, 60)!r} is named twice: give each class once")
    partners = [index.get(name, -1) for name in source]
    if min(partners, default=0) >= 0:
        return partners
    taken = set(partners)
    free: dict[str, list[int]] = {}
    for label in range(len(target) - 1, -1, -1):  # the first one last, where `pop` takes it
        if label not in taken:
            free.setdefault(canonical(target[label]), []).append(label)
    for place, name in enumerate(source):
        if partners[place] < 0 and (same := free.get(canonical(name))):
            partners[place] = same.pop()
    return partners

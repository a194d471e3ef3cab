"""Mutants that compute the same as the real code, each with its reason; see mutants.py."""

_SPEED = "only how much is looked at in one go, and when the work ends: what is returned is the same"
_ALL = "where there are no more than `count`, the long way keeps them all, too"

_LOOSE = "a looser bound: the exact test follows, only later"
_EMPTY = "any negative number stands for what is left; with no columns nothing is found"
_STRIP = "the first and the last strip of the area have no part in it"
_AREA = "evaluation/voc: recall = np.concatenate([[0.0], recall, [1.0]])"
_ENVELOPE = "evaluation/voc: envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]"
_LOWEST = "ops/scores: return np.float32(logit(threshold * (1 - 3e-7)) - 1e-3)"
_ROWS = "ops/scores: rows = np.flatnonzero(foreground.max(axis=1, initial=-np.inf) > bound)"
_FOUND = "ops/scores: prior, label = np.divmod(found"

EQUIVALENT: dict[str, str] = {
    "ops/nms: BLOCK = 128: 128 -> 129": _SPEED,
    "ops/nms: BLOCK = 128: 128 -> 127": _SPEED,
    "ops/nms: if len(kept) >= max_detections:: len(kept) >= max_detections -> len(kept) > max_detections": _SPEED,
    "ops/nms: break: break -> pass": _SPEED,
    "ops/nms: if len(labels) <= count:: len(labels) <= count -> len(labels) < count": _ALL,
    f"{_LOWEST}: 1 -> 0": _LOOSE,
    f"{_LOWEST}: 3e-07 -> 0.0110003": _LOOSE,
    f"{_LOWEST}: 0.001 -> 0.012": _LOOSE,
    "ops/scores: found = np.flatnonzero(flat > lowest_logit(threshold)): flat > lowest_logit(threshold) -> "
    "flat >= lowest_logit(threshold)": _LOOSE,
    f"{_ROWS}: -np.inf -> np.inf": _LOOSE,
    f"{_ROWS}: foreground.max(axis=1, initial=-np.inf) > bound -> foreground.max(axis=1, initial=-np.inf) >= bound": (
        _LOOSE
    ),
    f"{_ROWS}: foreground.max(axis=1, initial=-np.inf) -> foreground.max(initial=-np.inf)": _LOOSE,
    "ops/scores: flat = np.ascontiguousarray(columns, np.float32).reshape(-1): 1 -> 2": _EMPTY,
    "ops/scores: flat = np.ascontiguousarray(columns).reshape(-1): 1 -> 2": _EMPTY,
    f"{_FOUND}, max(columns.shape[1], 1)): 1 -> 0 #2": _EMPTY,
    f"{_FOUND}[above], max(columns.shape[1], 1)): 1 -> 0 #2": _EMPTY,
    "ops/scores: foreground = logits[:, 1:] if classes is None else logits[:, 1 + classes]: 1 -> 0": _LOOSE,
    "evaluation/voc: f1[:-1][self.score[:-1] == self.score[1:]] = -1: 1 -> 2 #4": "below every F1, as -1 is",
    "evaluation/voc: f1[:-1][self.score[:-1] == self.score[1:]] = -1: 1 -> 0 #4": "some F1 is above 0 here",
    "evaluation/voc: points = [precision[recall >= t - 1e-12].max(initial=0.0) for t in np.linspace(0, 1, 11)]: "
    "recall >= t - 1e-12 -> recall > t - 1e-12": "no recall is a point less 1e-12",
    f"{_AREA}: 1.0 -> 1.011": _STRIP,
    f"{_AREA}: 1.0 -> 0.989": _STRIP,
    f"{_ENVELOPE}: 0.0 -> 0.011": _STRIP,
    f"{_ENVELOPE}: 0.0 -> -0.011": _STRIP,
    "evaluation/errors: different, _ = best_object(flat, allowed=~similar & ~np.eye(flat.num_classes, dtype=bool)): "
    "~similar & ~np.eye(flat.num_classes, dtype=bool) -> ~similar | ~np.eye(flat.num_classes, dtype=bool)": (
        "the kinds of its own and of similar classes are put over it afterwards"
    ),
    "evaluation/errors: np.unique(np.geomspace(1, max(1, len(wrong_rows)), 40).astype(np.int64)): 1 -> 0 #2": (
        "there is one at least"
    ),
    "evaluation/errors: wrong / np.maximum(ends, 1),: 1 -> 0": "where there is a count, it is 1 at least",
    "evaluation/confusion: ignored = flat.ignored if len(flat.ignored) else np.zeros(1, bool): 1 -> 2": (
        "one place for no object (-1), or two alike"
    ),
    "evaluation/matching: _PAIRS = 4_000_000  # that are held at a time: 4000000 -> 4000001": _SPEED,
    "evaluation/matching: _PAIRS = 4_000_000  # that are held at a time: 4000000 -> 3999999": _SPEED,
    "evaluation/voc: edges = np.searchsorted(flat.label[order], np.arange(flat.num_classes + 1)): 1 -> 2": (
        "one more edge, which nobody asks for"
    ),
}

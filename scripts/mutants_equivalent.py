"""Mutants that compute the same as the real code, each with its reason; see mutants.py."""

_SPEED = "only how much is looked at in one go, and when the work ends: what is returned is the same"
_ALL = "where there are no more than `count`, the long way keeps them all, too"

EQUIVALENT: dict[str, str] = {
    "ops/nms: BLOCK = 128: 128 -> 129": _SPEED,
    "ops/nms: BLOCK = 128: 128 -> 127": _SPEED,
    "ops/nms: if len(kept) >= max_detections:: len(kept) >= max_detections -> len(kept) > max_detections": _SPEED,
    "ops/nms: break: break -> pass": _SPEED,
    "ops/nms: if len(labels) <= count:: len(labels) <= count -> len(labels) < count": _ALL,
    "evaluation/voc: f1[:-1][self.score[:-1] == self.score[1:]] = -1: 1 -> 2 #4": "below every F1, as -1 is",
    "evaluation/voc: f1[:-1][self.score[:-1] == self.score[1:]] = -1: 1 -> 0 #4": "some F1 is above 0 here",
    "evaluation/voc: edges = np.searchsorted(flat.label[order], np.arange(flat.classes + 1)): 1 -> 2": (
        "one more edge, which nobody asks for"
    ),
}

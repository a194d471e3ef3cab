"""Intel's Model API: its own resize, thresholds and names from the file."""

from common import run
from model_api.models import Model


def load(model, facts):
    detector = Model.create_model(model)

    def detect(picture):
        found = detector(picture)
        rows = zip(found.label_names, found.scores, found.bboxes, strict=True)
        return [[name.replace("_", " "), score, *box] for name, score, box in rows]

    return detect


run(load)

import json

import numpy as np
import pytest

from edgessd._cv2 import cv2


def write_picture(path, size=(64, 48), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 255, (size[1], size[0], 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def voc_object(name, box, difficult=0):
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


class Make:
    """Makes small data sets of every format under one folder."""

    def __init__(self, folder):
        self.folder = folder

    def picture(self, name, size=(64, 48), seed=0):
        write_picture(self.folder / name, size, seed)

    def voc(self, objects, base="", splits=None, suffix=".png", size=(64, 48)):
        """objects: {name: [(class, box)]}; splits: {split: [name]}."""
        root = self.folder / base
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name, items in objects.items():
            write_picture(root / "JPEGImages" / f"{name}{suffix}", size)
            body = "".join(voc_object(*item) for item in items)
            header = f"<filename>{name}.jpg</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
            (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{header}{body}</annotation>")
        for split, names in (splits or {"train": list(objects)}).items():
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        return root

    def coco(self, objects, base="", split="train"):
        """objects: {name: [(class, [x, y, w, h])]}."""
        root = self.folder / base
        classes = sorted({item[0] for items in objects.values() for item in items})
        document = {"images": [], "annotations": [], "categories": []}
        document["categories"] = [{"id": 5 + 2 * n, "name": name} for n, name in enumerate(classes)]
        for number, (name, items) in enumerate(objects.items(), 100):
            write_picture(root / split / f"{name}.png")
            document["images"].append({"id": number, "file_name": f"{name}.jpg", "width": 64, "height": 48})
            for cls, box in items:
                entry = {"id": len(document["annotations"]), "image_id": number, "bbox": box, "iscrowd": 0}
                document["annotations"].append(entry | {"category_id": 5 + 2 * classes.index(cls)})
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
        return root

    def yolo(self, labels, base="", split="train", names="names: [cat, dog]\n"):
        """labels: {name: text of the label file, None for no file}."""
        root = self.folder / base
        for name, text in labels.items():
            write_picture(root / "images" / split / f"{name}.png")
            (root / "labels" / split).mkdir(parents=True, exist_ok=True)
            if text is not None:
                (root / "labels" / split / f"{name}.txt").write_text(text)
        (root / "data.yaml").write_text(names)
        return root


@pytest.fixture
def make(tmp_path):
    return Make(tmp_path)

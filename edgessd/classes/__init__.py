"""Names of classes: COCO's with their ids, names that mean the same, files of names, and how two lists of them meet."""

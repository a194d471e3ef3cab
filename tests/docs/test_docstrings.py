"""How a docstring becomes Markdown on the API pages."""

import pytest

pytest.importorskip("griffe")

from .test_pictures import script

TABLE = [
    ("One line.", set(), "One line."),
    (
        "Do it.\n\nimage: a path,\nor pixels. model, options: as for load.\nReturns a list.",
        {"image", "model", "options"},
        "Do it.\n\n- `image`: a path, or pixels.\n- `model, options`: as for load.\n\nReturns a list.",
    ),
    ("Note: no parameter.\nimage: neither, here.", {"model"}, "Note: no parameter.\nimage: neither, here."),
    (
        "All of it.\n\nData:\n    data: a folder. split: of it.\nNetwork:\n    size: of its\n    input.",
        {"data", "split", "size"},
        "All of it.\n\nData:\n\n- `data`: a folder.\n- `split`: of it.\n\nNetwork:\n\n- `size`: of its input.",
    ),
    ("Do it.\n\n>>> f(1)\n2\n\nAnd so on.", set(), "Do it.\n\n```pycon\n>>> f(1)\n2\n```\n\nAnd so on."),
    ("A tree:\n\n    A\n    `-- B", set(), "A tree:\n\n    A\n    `-- B"),
]


@pytest.mark.parametrize(("text", "names", "expected"), TABLE)
def test_parameters_become_a_list_and_examples_code(text, names, expected):
    assert script("docstrings").markdown(text, names) == expected

from edgessd.io.markdown import markdown_table


def test_every_key_is_a_column_and_what_is_missing_is_empty():
    rows = [{"name": "a", "ms": 1.5}, {"name": "b|c", "note": None}]
    assert markdown_table(rows).splitlines() == [
        "| name | ms | note |",
        "|---|---|---|",
        "| a | 1.5 |  |",
        "| b\\|c |  | None |",
    ]

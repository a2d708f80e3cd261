"""The JSON of results and commands, as tests read it."""

import json

KEYS = ["kind", "settings", "versions", "seconds", "columns", "rows", "extra"]


def facts(text):
    """Return a document with its settings, its extra and a single row beside its keys, checked."""
    document = json.loads(text)
    assert list(document) == KEYS
    rows = document["rows"]
    assert all(list(row) == document["columns"] for row in rows)
    single = rows[0] if len(rows) == 1 else {}
    return {**single, **document["settings"], **document["extra"], **document}

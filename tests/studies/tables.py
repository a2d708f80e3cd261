"""Tables of measures brought from long form to one row per score, as tests read them."""

from typing import Any

import pandas as pd


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """Return `means` or `differences` with a column per measure and for each end of its interval.

    Rows stay in their order.
    """
    numbers = ("measure", "value", "value_low", "value_high")
    keys = [name for name in table if name not in numbers]
    rows: dict[Any, dict[str, Any]] = {}
    for row in table.to_dict("records"):
        key = tuple(row[name] for name in keys)
        own = rows.setdefault(key, {name: row[name] for name in keys})
        own |= {row["measure"] + end: row["value" + end] for end in ("", "_low", "_high")}
    return pd.DataFrame(rows.values())

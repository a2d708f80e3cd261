import json

import numpy as np
import pandas as pd

from modtools import Task, Zoo
from modtools._results import (
    Column,
    Result,
    html_of,
    html_table,
    percent,
    percent_interval,
    text_table,
    where_known,
)


def test_no_more_than_twenty_rows_are_shown_and_the_rest_is_counted():
    rows = [[f"m{i}", str(i)] for i in range(23)]
    lines = text_table(["module", "value"], rows, title="Ranking").splitlines()
    assert lines[0] == "Ranking"
    assert len(lines) == 1 + 1 + 20 + 1
    assert lines[-1] == "... and 3 more rows: frame() has all 23."
    page = html_table(["module", "value"], rows)
    assert page.count("<tr>") == 1 + 20 + 1
    assert "... and 3 more rows: frame() has all 23." in page


def test_numbers_are_aligned_to_the_right():
    assert text_table(["a", "b"], [["x", "1"], ["yy", "10"]]).splitlines() == [
        "a    b",
        "x    1",
        "yy  10",
    ]


def test_html_is_escaped():
    page = html_table(["<h>"], [["<b>"]], title="a & b")
    assert "<caption>a &amp; b</caption>" in page
    assert "&lt;h&gt;" in page
    assert "&lt;b&gt;" in page


class Table(Result):
    def __init__(self, rows, notes=()):
        super().__init__(settings={"seed": 0}, seconds=1.5)
        self._table, self._notes = pd.DataFrame(rows), list(notes)

    def frame(self):
        return self._table.copy()

    def title(self):
        return "A <title>\x1b[2J"

    def notes(self):
        return self._notes

    def _columns(self):
        return [
            Column("  module", str, ("module",)),
            Column("accuracy (%)", where_known(percent), ("value",)),
            Column("95 % interval", where_known(percent_interval), ("low", "high")),
        ]


ROWS = [
    {"module": "<a>", "value": 0.5, "low": np.nan, "high": np.nan},
    {"module": "=1+1", "value": np.nan, "low": np.nan, "high": np.nan},
]


def test_columns_without_any_text_are_left_out():
    assert Table(ROWS).table() == (["  module", "accuracy (%)"], [["<a>", "50.0"], ["=1+1", ""]])
    empty = Table({name: [] for name in ROWS[0]})
    assert empty.table() == (["  module", "accuracy (%)", "95 % interval"], [])


def test_text_and_html_hold_the_same_and_are_harmless():
    result = Table(ROWS, ["a note <b>\x1b[2J"])
    assert repr(result).splitlines() == [
        r"A <title>\x1b[2J",
        "  module  accuracy (%)",
        "<a>               50.0",
        "=1+1",
        r"a note <b>\x1b[2J",
    ]
    page = result._repr_html_()
    assert page.startswith(r"<table><caption>A &lt;title&gt;\x1b[2J</caption>")
    assert "<th>module</th>" in page
    assert page.endswith(r"</table><p>a note &lt;b&gt;\x1b[2J</p>")


def test_json_has_the_same_keys_for_every_result(tmp_path):
    text = Table(ROWS).to_json(tmp_path / "new" / "result.json")
    assert (tmp_path / "new" / "result.json").read_text() == text
    content = json.loads(text)
    assert list(content) == [
        *("kind", "settings", "versions", "seconds", "columns", "rows"),
        "extra",
    ]
    assert content["kind"] == "table"
    assert content["columns"] == list(content["rows"][0])
    assert content["rows"][1] == {"module": "=1+1", "value": None, "low": None, "high": None}


def test_csv_holds_the_rows_and_no_formula(tmp_path):
    text = Table(ROWS).to_csv(tmp_path / "result.csv")
    assert (tmp_path / "result.csv").read_text() == text
    assert text.splitlines() == ["module,value,low,high", "<a>,0.5,,", "'=1+1,,,"]
    assert Table(ROWS).to_csv() == text


def test_what_is_no_table_becomes_html_line_by_line():
    assert html_of("Zoo <a>\n  b\x1b[2J") == "<pre>Zoo &lt;a&gt;\n  b\\x1b[2J</pre>"


def test_tasks_and_zoos_are_shown_in_notebooks(tmp_path):
    task = Task(np.eye(4), [0, 1, 0, 1], name="<b>")
    assert task._repr_html_() == html_of(repr(task))
    assert "&lt;b&gt;" in task._repr_html_()
    zoo = Zoo(tmp_path)
    assert zoo._repr_html_() == html_of(repr(zoo))

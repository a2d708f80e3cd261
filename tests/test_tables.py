from modtools._tables import html_table, text_table


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

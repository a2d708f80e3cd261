import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from modtools.exceptions import ModtoolsError
from modtools.plotting import RaceDisplay
from modtools.plotting._display import BEST, OTHERS


@pytest.fixture
def results():
    return pd.DataFrame(
        {
            "module": ["deep", "shallow", "broken"],
            "status": ["in", "dropped", "failed"],
            "examples": [1000, 300, 100],
            "value": [0.9, 0.613, float("nan")],
        }
    )


def test_bars_are_the_rows_run_and_their_ends_the_accuracies(results):
    display = RaceDisplay(results=results, n_labels=1000, title="a race").plot()
    bars = display.ax_.patches
    assert [bar.get_width() for bar in bars] == [1000, 300, 100]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [BEST, OTHERS, OTHERS]
    assert [text.get_text() for text in display.ax_.texts] == ["90.0", "61.3", "failed"]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == [*results["module"]]
    assert display.ax_.yaxis_inverted()
    plt.close(display.figure_)


def test_it_draws_where_told_saves_two_files_and_leaves_the_frame_alone(results, tmp_path):
    before = results.copy()
    figure, ax = plt.subplots()
    display = RaceDisplay(results=results, n_labels=1000).plot(ax)
    assert display.ax_ is ax
    assert [path.suffix for path in display.save(tmp_path / "race.png")] == [".png", ".svg"]
    assert results.equals(before)
    plt.close(figure)


def test_nothing_to_draw_is_refused(results):
    with pytest.raises(ModtoolsError, match="without modules"):
        RaceDisplay(results=results.iloc[:0], n_labels=10)

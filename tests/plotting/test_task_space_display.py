import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from modtools.exceptions import ModtoolsError
from modtools.plotting import TaskSpaceDisplay

TREE = np.array([[0.0, 2.0, 0.1, 2.0], [3.0, 1.0, 0.6, 3.0]])  # a and c first, then b


@pytest.fixture
def matrix():
    values = [[0.9, 0.5, 0.8], [0.5, 0.9, 0.6], [0.95, 0.6, 0.9]]
    return pd.DataFrame(values, index=list("abc"), columns=["ma", "mb", "mc"])


def make(matrix, **options):
    return TaskSpaceDisplay(matrix=matrix, linkage=TREE, score="lda", accuracy=True, **options)


def numbers(ax):
    return [text.get_text() for text in ax.texts]


def test_tasks_follow_the_tree_and_modules_follow_their_tasks(matrix):
    display = make(matrix, source={"ma": "a", "mb": "b", "mc": "c"})
    order = [f"m{task}" for task in display.matrix.index]
    assert display.matrix.columns.tolist() == order
    assert order in (["ma", "mc", "mb"], ["mb", "ma", "mc"])
    frame = display.frame()
    assert frame["value"].tolist() == display.matrix.to_numpy().ravel().tolist()
    assert frame["achieved"].isna().all()


def test_tree_matrix_and_achieved_share_their_rows(matrix):
    display = make(matrix, achieved=matrix - 0.1).plot()
    tree, score, achieved = display.ax_
    names = [label.get_text() for label in tree.get_yticklabels()]
    assert names == display.matrix.index.tolist()
    assert tree.get_ylim() == (30.0, 0.0)
    assert score.get_ylim() == achieved.get_ylim() == (3.0, 0.0)
    assert numbers(score)[:3] == [f"{100 * v:.0f}" for v in display.matrix.iloc[0]]
    assert display.frame()["achieved"].tolist() == pytest.approx(
        (display.matrix.to_numpy() - 0.1).ravel().tolist()
    )


def test_own_modules_are_framed(matrix):
    ax = make(matrix, source={"mb": "b"}).plot(Figure().subplots()).ax_[0]
    assert len(ax.patches) == 1
    other = make(matrix, source={"mb": "another"}).plot(Figure().subplots())
    assert not other.ax_[0].patches


def test_a_row_of_equal_values_is_drawn_without_a_warning(matrix):
    matrix.loc["b"] = 1.0
    ax = make(matrix).plot(Figure().subplots()).ax_[0]
    assert numbers(ax).count("100") == 3


def test_many_cells_stay_without_numbers(matrix):
    wide = pd.concat([matrix.add_prefix(f"{copy}") for copy in range(60)], axis=1)
    assert numbers(make(wide).plot(Figure().subplots()).ax_[0]) == []


def test_it_saves_both_formats_and_changes_nothing(matrix, tmp_path):
    before = matrix.copy()
    display = make(matrix).plot()
    assert [path.suffix for path in display.save(tmp_path / "space.png")] == [".png", ".svg"]
    pd.testing.assert_frame_equal(matrix, before)


def test_what_cannot_be_drawn_is_refused(matrix):
    with pytest.raises(ModtoolsError, match="fewer than two tasks"):
        make(matrix.iloc[:1])
    with pytest.raises(ModtoolsError, match="one, two or three axes; got 4"):
        make(matrix).plot(Figure().subplots(ncols=4))

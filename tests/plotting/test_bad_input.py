"""Arguments of displays that cannot be drawn: one clear error for each."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from modtools.exceptions import ModtoolsError
from modtools.plotting import (
    AgreementDisplay,
    LabelEfficiencyDisplay,
    ParetoDisplay,
    RaceDisplay,
    RankingDisplay,
    TaskSpaceDisplay,
    TrainingDisplay,
)

RANKED = pd.DataFrame({"module": ["a", "b"], "value": [0.9, 0.6]})
CURVE = pd.DataFrame({"line": "a", "n_labels": [10, 100], "value": [0.5, 0.8]})
REACHED = pd.DataFrame([{"line": "a", "n_labels": 50, "n_labels_low": 9, "n_labels_high": 99}])
POINTS = pd.DataFrame({"task": "t", "module": ["a", "b"], "predicted": [0.9, 0.6]}).assign(
    achieved=[0.7, 0.65]
)
TAU = pd.DataFrame([{"score": "knn", "task": "t", "weighted_tau": 0.9, "is_baseline": False}])
ENDS = pd.DataFrame([{"score": "lda", "weighted_tau_low": 0.0, "weighted_tau_high": 1.0}])
RUNS = pd.DataFrame({"method": ["m", "m"], "seconds": [1.0, 2.0], "accuracy": [0.5, 0.9]})
RACED = RANKED.drop(columns="value").assign(status="in", examples=[9, 3], value=[0.9, 0.4])
TRIED = pd.DataFrame({"modules": ["a"], "n_modules": [1], "value": [0.8], "cost": [3.0]}).assign(
    value_low=0.7, value_high=0.9, on_front=True, chosen=True
)
MATRIX = pd.DataFrame([[0.9, 0.6], [0.5, 0.8]], index=["a", "b"], columns=["m", "n"])
TREE = np.array([[1, 0, 0.7, 2]])


def ranking(results=RANKED, **options):
    return RankingDisplay(results=results, **{"score": "knn", **options})


def agreement(**options):
    return AgreementDisplay(**{"points": POINTS, "agreement": TAU, "score": "knn", **options})


def training(runs=RUNS, **options):
    return TrainingDisplay(runs=runs, **options)


def race(results=RACED, **options):
    return RaceDisplay(results=results, **{"n_labels": 10, **options})


def pareto(results=TRIED, **options):
    return ParetoDisplay(results=results, **{"cost": "cost", **options})


def space(matrix=MATRIX, **options):
    return TaskSpaceDisplay(matrix=matrix, **{"linkage": TREE, "score": "lda", **options})


def efficiency(table=CURVE, **options):
    return LabelEfficiencyDisplay(table, **options)


BAD = [
    (lambda: ranking(RANKED.assign(value="x")), "value of results must be numbers; got 'x'"),
    (lambda: ranking(RANKED.assign(value=np.nan)), "value of results must be finite numbers"),
    (lambda: ranking(RANKED.assign(standard_error="x")), "standard_error of results must be num"),
    (lambda: ranking(RANKED.assign(achieved=80)), r"achieved of results must lie in \[0, 1\]"),
    (lambda: ranking(RANKED.assign(value=80), accuracy=True), r"value of results must lie in \["),
    (lambda: ranking(score=3), "score must be a str; got 3"),
    (lambda: ranking(title=3), "title must be a str; got 3"),
    (lambda: ranking(chance="x"), r"chance must be a number in \[0, 1\]; got 'x'"),
    (lambda: efficiency(CURVE.assign(value="x")), "value of table must be numbers; got 'x'"),
    (lambda: efficiency(CURVE.assign(n_labels="x")), "n_labels of table must be numbers; got 'x'"),
    (lambda: efficiency(CURVE.assign(n_labels=np.inf)), "n_labels of table must be above 0"),
    (lambda: efficiency(CURVE.assign(value_low="x")), "value_low of table must be numbers"),
    (lambda: efficiency(target=3), "target must lie strictly between 0 and 1; got 3"),
    (lambda: efficiency(ceiling="x"), r"ceiling must be a number in \[0, 1\]; got 'x'"),
    (lambda: efficiency(ceiling={"a": 90}), r'ceiling of "a" must be a number in \[0, 1\]; got 90'),
    (lambda: efficiency(chance=True), r"chance must be a number in \[0, 1\]; got True"),
    (lambda: efficiency(reached=REACHED.assign(n_labels="x")), "n_labels of reached must be numb"),
    (lambda: efficiency(reached=REACHED.assign(status="x")), 'unknown status "x".* Known: reached'),
    (lambda: agreement(points=POINTS.assign(predicted="x")), "predicted of points must be numbers"),
    (lambda: agreement(points=POINTS.assign(achieved=70)), r"achieved of points must lie in \[0, "),
    (lambda: agreement(agreement=TAU.assign(weighted_tau="x")), "weighted_tau of agreement must"),
    (lambda: agreement(intervals=ENDS), "intervals are of 'lda', agreement has no such score"),
    (lambda: agreement(score=3), "score must be a str; got 3"),
    (lambda: training(RUNS.assign(seconds="x")), "seconds of runs must be numbers; got 'x'"),
    (lambda: training(RUNS.assign(accuracy=90)), r"accuracy of runs must lie in \[0, 1\]"),
    (lambda: training(memory=3), r"memory must be \{method: bytes\}; got int"),
    (lambda: training(memory={"m": -3}), 'memory of "m" must be a number of bytes; got -3'),
    (lambda: race(RACED.assign(examples="x")), "examples of results must be numbers; got 'x'"),
    (lambda: race(n_labels=0), "n_labels must be a whole number of at least 1; got 0"),
    (lambda: pareto(TRIED.assign(cost="x")), "cost of results must be numbers; got 'x'"),
    (lambda: pareto(TRIED.assign(value=80)), r"value of results must lie in \[0, 1\]"),
    (lambda: space(MATRIX.assign(m="x")), "m of matrix must be numbers; got 'x'"),
    (lambda: space(MATRIX.assign(m=np.nan)), "m of matrix must be finite numbers"),
    (lambda: space(linkage=3), "linkage must be a tree as scipy"),
    (lambda: space(linkage=TREE[:0]), "linkage must be a tree as scipy"),
    (lambda: space(source=3), r"source must be \{module: task\}; got int"),
    (lambda: space(achieved=MATRIX[:1]), "achieved must have the tasks of matrix; it lacks 'b'"),
    (lambda: space(achieved=100 * MATRIX), r"m of achieved must lie in \[0, 1\]"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_cannot_be_drawn_is_one_clear_error(make, message):
    with pytest.raises(ModtoolsError, match=message):
        make()


@pytest.mark.parametrize("given", [3, "a", {"a": 1}, [1, 2], True])
def test_axes_that_are_none_are_refused(given):
    for display in (ranking(), space(), agreement()):
        with pytest.raises(ModtoolsError, match=r"ax must be one.* axes of matplotlib; got"):
            display.plot(given)
    with pytest.raises(ModtoolsError, match="ax must be one axes; got 0"):
        ranking().plot([])
    assert ranking().plot(Figure().subplots()).figure_


def test_accuracies_that_are_not_known_are_no_error():
    table = RANKED.assign(achieved=[None, 0.5], standard_error=[np.nan, 0.1])
    assert ranking(table).plot().frame()["achieved"].tolist()[1] == 0.5
    assert race(RACED.assign(value=[np.nan, 0.5])).plot().figure_

"""The laws that `bench_extrapolation.py` compares, and how one is chosen without its own figures.

Every law starts from a measured curve. `ErrorLaw` goes on at the usual pace, at the curve's own, or
at a blend of both. The latter two read the whole curve, its part from a tenth, from 0.3 or from a
half of the largest label count on, or its last two counts. All read two spacings of a curve: thirty
label counts, and every third of them.

**How a law is chosen** (written before the figures were seen): the mean absolute error in points,
the mean over sources of images and output modules, each counting as much; among the laws whose
80 % intervals hold at least 70 %, the mean over the same. Less than a tenth of a point decides
nothing: then the law that comes first in `LAWS`, which are sorted from simple to complicated. The
parts "from a half" and "last two counts", and the curves of thirty label counts, were added after a
first look at curves of ten, where "from 0.3", then the last of the list, was best.

**What is reported** is a law chosen without the source of images that it is reported on, with a
calibration (usual pace and spread, from labels alone) that saw neither.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from modtools.retraining._error_law import ErrorLaw

USUAL, REFERENCE = "usual pace", "power law"
PARTS = {
    "whole curve": 0.0,
    "from a tenth": 0.1,
    "from 0.3": 0.3,
    "from a half": 0.5,
    "last two counts": 1.0,
}
PLACE = ["images", "task", "module", "output", "n", "draw", "every", "ahead"]  # of a forecast
LAWS = [
    USUAL,
    *(f"own pace, {part}" for part in PARTS),
    *(f"blend, {part}" for part in PARTS),
]
ELSEWHERE = "chosen on the others"
LEAST_HELD, POINTS = 70, 0.1  # per cent; points of accuracy
WIDEST = 0.2  # of an 80 % interval: beyond it a study refuses


class Curve(NamedTuple):
    """A measured curve: label counts, mean accuracies at them, and the same of every resample."""

    counts: np.ndarray
    curve: np.ndarray
    resampled: np.ndarray

    def thinned(self, every):
        """Return what a study of every `every`-th label count measures: the last is kept."""
        return Curve(*(part[..., ::-1][..., ::every][..., ::-1] for part in self))


class Start(NamedTuple):
    """What a forecast starts from, and the accuracies that were achieved further on.

    `kind` is "study" or "labels alone"; `achieved` is {label count: accuracy}. From labels alone,
    `level` is the leave-one-out error, or `refused` says why there is none.
    """

    kind: str
    output: str
    n: int
    achieved: dict
    level: float | None = None
    refused: str = ""
    curve: Curve | None = None


class Paces(NamedTuple):
    """The errors at the end of a curve, and its own paces: {part: (pace, variance)}."""

    n: int
    error: float
    variance: float
    own: dict

    @classmethod
    def of(cls, measured):
        counts, errors = measured.counts, 1 - measured.curve
        resampled = 1 - measured.resampled
        # A resample without an error counts half the least that differs from none.
        least = np.where(resampled > 0, resampled, np.inf).min(axis=0)
        resampled = np.maximum(resampled, np.minimum(least, errors) / 2)
        own = {}
        for part, first in PARTS.items():
            start = min(int(np.searchsorted(counts, first * counts[-1])), len(counts) - 2)
            paces = (_pace(counts[start:], found[..., start:]) for found in (errors, resampled))
            pace, others = paces
            own[part] = float(pace), float(others.var())
        return cls(int(counts[-1]), errors[-1], float(np.log(resampled[:, -1]).var()), own)

    def law(self, name, calibration):
        """Return the `ErrorLaw` that a law of `LAWS` goes on by."""
        pace = calibration.pace
        kind, _, part = name.partition(", ")
        if part:
            own, variance = self.own[part]
            ahead = own - pace
            # Of the distance between both, the share that is not noise of the own pace.
            share = 1.0 if kind == "own pace" else max(0.0, 1 - variance / max(ahead**2, 1e-12))
            pace = max(pace + share * ahead, 0.0)
        of_level = self.n * self.variance * self.error / (1 - self.error)
        level_variance = max(calibration.level_variance, of_level)
        spread = calibration._replace(pace=pace, level_variance=level_variance)
        return ErrorLaw(self.n, self.error, spread)


def _pace(counts, errors):
    steps = counts**-0.5 - (counts**-0.5).mean()
    return np.log(errors) @ steps / (steps @ steps)


def judged(table, *, never=()):
    """Return forecasts with how far off they are, those that no law refuses; some never do.

    Columns those of `PLACE`, achieved, law, value, low, high; one row a forecast and law.
    """
    too_wide = (table["high"] - table["low"] > WIDEST) & ~table["law"].isin(never)
    refused = too_wide.groupby([table[column] for column in PLACE]).transform("any")
    found = table[~refused]
    return found.assign(
        off=100 * (found["value"] - found["achieved"]),
        held=(found["low"] <= found["achieved"]) & (found["achieved"] <= found["high"]),
        half_width=50 * (found["high"] - found["low"]),
    )


def cells(found):
    """Return the figures of every law on every source of images and output module."""
    return (
        found.assign(absolute=found["off"].abs(), held=100.0 * found["held"])
        .groupby(["law", "images", "output"], sort=False)
        .agg(
            forecasts=("off", "size"),
            absolute=("absolute", "mean"),
            bias=("off", "mean"),
            held=("held", "mean"),
            half_width=("half_width", "mean"),
        )
    )


def choose(found):
    """Return the law that judged forecasts speak for, as the head of this file says."""
    if not len(found):
        return USUAL
    means = cells(found).groupby("law").mean()
    means = means.loc[[law for law in LAWS if law in means.index]]
    holds = means["held"] >= LEAST_HELD
    off = means.loc[holds if holds.any() else ~holds, "absolute"]
    return next(law for law in off.index if off[law] < off.min() + POINTS)


def left_out(judge, sources):
    """Return {source: law chosen without it}, and the forecasts on each by that law.

    `judge(sources, without)` returns judged forecasts on some sources, by calibrations that did
    not see the source `without`.
    """
    chosen, parts = {}, []
    for source in sources:
        others = [other for other in sources if other != source]
        chosen[source] = choose(judge(others, source))
        own = judge([source], source)
        parts.append(own[own["law"] == chosen[source]].assign(law=ELSEWHERE))
    return chosen, pd.concat(parts)


def decided(found, on_all, elsewhere):
    """Return what the package should do: the law chosen on all sources, or the usual pace.

    The usual pace stays unless laws chosen without a source are better on it, by `POINTS` and more.
    """
    means = cells(pd.concat([found, elsewhere])).groupby("law")["absolute"].mean()
    return on_all if means[ELSEWHERE] <= means[USUAL] - POINTS else USUAL

"""`score`: all transferability scores that apply, with as few passes as possible."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import (
    as_float,
    check_integer,
    check_lengths,
    check_matrix,
    check_probabilities,
    raise_if_not_finite,
)
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError, UnusableInputError
from modtools.tasks import Labels, encode_labels, group_codes
from modtools.transferability._declare import check_scorable
from modtools.transferability._registry import SCORES, Score, Scores
from modtools.transferability._summarise import summarise
from modtools.transferability._summary import Summary

__all__ = ["score"]


@dataclass
class _Inputs:
    """Checked inputs of one call, and the summaries computed so far."""

    features: NDArray[Any]
    labels: Labels
    probabilities: FloatArray | None
    seed: int
    groups: NDArray[np.intp] | None
    summaries: dict[str, Summary]
    rows: FloatArray | None = None

    def summary(self, feature_map: str) -> Summary:
        """Return the summary under a feature map, computed once."""
        if feature_map not in self.summaries:
            self.summaries[feature_map] = summarise(
                self.features, self.labels, feature_map=feature_map
            )
        return self.summaries[feature_map]

    def float_rows(self) -> FloatArray:
        """Return finite float features, checked once."""
        if self.rows is None:
            self.rows = as_float(self.features)
            if not self.summaries:
                raise_if_not_finite(self.rows)
        return self.rows


def score(
    features: Any,
    labels: Any,
    scores: Sequence[str] | str | None = None,
    *,
    source_probabilities: Any = None,
    groups: Any = None,
    seed: int = 0,
) -> Scores:
    """Score how transferable a module is, from its features on a labelled task.

    All scores of moments share one pass per feature map. Fewer examples than features use the n x n
    kernel instead. Where sums of products lose digits, the features themselves are decomposed.
    Higher is always better.

    Parameters
    ----------
    features : array-like of shape (n_samples, n_features)
        Features: output of a module. A numpy array or torch tensor of any float or integer type.
        Not changed.
    labels : array-like of shape (n_samples,) or (n_samples, n_targets)
        Integers, strings or booleans (classes), a 0/1 matrix (multi-label) or floats (regression).
    scores : sequence of str, optional
        Names from `SCORES`. By default all that apply; those that do not are listed in `.skipped`.
    source_probabilities : array-like of shape (n_samples, n_source_classes), optional
        Class probabilities of the module's own (source) head, for `nce` and `leep`; each row sums
        to 1.
    groups : array-like of shape (n_samples,), optional
        Group of each example, for example the image that crops come from. Scores with held-out
        examples hold out groups as a whole (`Score.knows_groups`); the others ignore groups.
    seed : int, default=0
        Seed of the scores with random folds or orders. Examples are sorted by content first, so
        their order changes no value.

    Returns
    -------
    Scores
        A dict name -> float with `.skipped`, `.standard_errors` and `.seconds`. Ranges and units
        are those of ``SCORES[name].range``.

    Raises
    ------
    ModtoolsError
        Bad input; an unknown score; a score requested by name that does not apply.

    See Also
    --------
    modtools.transferability.Moments : Scores of data that come in batches or shards.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 50)
    >>> features = rng.normal(size=(100, 3)) + labels[:, None]
    >>> result = score(features, labels, ["hscore", "logme"])
    >>> {name: round(value, 2) for name, value in result.items()}
    {'hscore': 0.33, 'logme': -0.92}
    """
    check_integer(seed, name="seed", minimum=0)
    matrix = check_matrix(features)
    encoded = encode_labels(labels)
    check_lengths(features=matrix, labels=encoded)
    check_scorable(encoded, kinds=(encoded.kind,), score="score")
    probabilities = None
    if source_probabilities is not None:
        probabilities = check_probabilities(source_probabilities)
        check_lengths(source_probabilities=probabilities, labels=encoded)
    units = group_codes(groups, len(matrix))
    inputs = _Inputs(matrix, encoded, probabilities, seed, units, {})
    chosen, skipped = _choose(scores, inputs)
    result = Scores()
    result.skipped.update(skipped)
    # Moments first: their pass also checks that every entry is finite.
    for entry in sorted(chosen, key=lambda entry: entry.needs != "moments"):
        started = time.perf_counter()
        try:
            value = _compute(entry, inputs)
        except ModtoolsError as error:
            if scores is not None or isinstance(error, UnusableInputError):
                raise
            result.skipped[entry.name] = str(error)
            continue
        result.add(entry.name, value, time.perf_counter() - started)
    return _in_order(result, [entry.name for entry in chosen])


def _in_order(result: Scores, names: Iterable[str]) -> Scores:
    values = dict(result)
    result.clear()
    result.update({name: values[name] for name in names if name in values})
    return result


def _choose(
    scores: Sequence[str] | str | None, inputs: _Inputs
) -> tuple[list[Score], dict[str, str]]:
    names = None if scores is None else SCORES.names(scores)
    entries = [SCORES[name] for name in (SCORES if names is None else names)]
    kind, has_source = inputs.labels.kind, inputs.probabilities is not None
    reasons = {entry.name: entry.why_not(kind, has_source=has_source) for entry in entries}
    if names is not None:
        for name, reason in reasons.items():
            if reason:
                raise ModtoolsError(f'score "{name}" does not apply: {reason}.')
    chosen = [entry for entry in entries if not reasons[entry.name]]
    return chosen, {name: reason for name, reason in reasons.items() if reason}


def _compute(entry: Score, inputs: _Inputs) -> Any:
    if entry.needs == "source_probabilities":
        return entry.compute(inputs.probabilities, inputs.labels)
    if entry.needs == "moments":
        return entry.compute(inputs.summary(entry.feature_map))
    groups = {"groups": inputs.groups} if entry.knows_groups else {}
    return entry.compute(inputs.float_rows(), inputs.labels, inputs.seed, **groups)

"""The registry of scores: input, kinds of labels and function of each; and the result class."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from modtools._checks import check_choice
from modtools._feature_maps import FEATURE_MAPS
from modtools.exceptions import ModtoolsError
from modtools.tasks import Kind
from modtools.transferability._summary import Summary

__all__ = [
    "SCORES",
    "Estimate",
    "Needs",
    "NotFiniteScoreError",
    "Score",
    "ScoreRegistry",
    "Scores",
    "finite_estimate",
    "score_summary",
]

Needs: TypeAlias = Literal["moments", "features", "source_probabilities"]


class Estimate(NamedTuple):
    """The value of a score and its standard error.

    Attributes
    ----------
    value : float
        The score; higher is better.
    standard_error : float or None
        Its standard error, in the unit of the score, if one is defined.

    Examples
    --------
    >>> Estimate(0.9, standard_error=0.01).value
    0.9
    """

    value: float
    standard_error: float | None = None


class NotFiniteScoreError(ModtoolsError):
    """The result of a score is NaN, infinite, or not a number: a defect of the score."""


def finite_estimate(name: str, result: Any) -> Estimate:
    """Return the result of a score with plain numbers, or raise `NotFiniteScoreError`.

    >>> finite_estimate("own", np.float32(0.5))
    Estimate(value=0.5, standard_error=None)
    """
    value, error = result if isinstance(result, Estimate) else (result, None)
    for part in (value, 0.0 if error is None else error):
        try:
            is_finite = bool(np.isfinite(float(part)))
        except (TypeError, ValueError, OverflowError):
            is_finite = False
        if not is_finite:
            raise NotFiniteScoreError(f"{name} came out as {part}; a score must be finite.")
    return Estimate(float(value), None if error is None else float(error))


@dataclass(frozen=True)
class Score:
    """An entry of the registry of scores; higher values are always better.

    `modtools.transferability.register_score` makes an entry, together with a checked public
    function, from a single documented function.

    Attributes
    ----------
    name : str
        Name in the registry.
    needs : {"moments", "features", "source_probabilities"}
        Input of `compute`: the `Summary` of the moments, checked features, or checked source-class
        probabilities. A score that inverts the scatter must read ``summary.spectrum``, which is
        computed again in float64 if float32 lost digits.
    compute : callable
        ``compute(summary)``, ``compute(features, labels, seed)`` or ``compute(probabilities,
        labels)``, with encoded `Labels`; returns a float or an `Estimate` (value, standard error).
    range : str
        Range with unit, for people.
    reference : str
        Source of the definition.
    kinds : tuple of str
        Kinds of labels it is defined for.
    passes : int or str
        Number of passes over the examples.
    feature_map : str
        Key of `modtools.transferability.FEATURE_MAPS` that is applied to the features by default.
    knows_groups : bool
        Whether `compute` takes ``groups=``, an integer per example, and holds out groups as a
        whole.
    is_accuracy : bool
        Whether, for classes, it estimates the accuracy of an output module as a fraction.

    Examples
    --------
    >>> entry = SCORES["logme"]
    >>> entry.needs, entry.range
    ('moments', 'unbounded, nats per example and column')
    """

    name: str
    needs: Needs
    compute: Callable[..., Any]
    range: str
    reference: str
    kinds: tuple[Kind, ...] = ("classification",)
    passes: int | str = 1
    feature_map: str = "identity"
    knows_groups: bool = False
    is_accuracy: bool = False

    def why_not(self, kind: Kind, *, has_source: bool) -> str:
        """Return the reason why the score does not apply, or the empty string.

        Parameters
        ----------
        kind : {"classification", "multilabel", "regression"}
            Kind of the labels.
        has_source : bool
            Whether source-class probabilities are available.

        Returns
        -------
        str
            The reason.

        Examples
        --------
        >>> SCORES["leep"].why_not("classification", has_source=False)
        "it needs source_probabilities, the module's own class probabilities"
        """
        if kind not in self.kinds:
            return f"it is defined for {' and '.join(self.kinds)} labels, not {kind}"
        if self.needs == "source_probabilities" and not has_source:
            return "it needs source_probabilities, the module's own class probabilities"
        return ""


class Scores(dict[str, float]):
    """Result of `score`: a dict from the name of a score to its value.

    Attributes
    ----------
    skipped : dict
        Scores that were not computed, with the reason.
    standard_errors : dict
        Standard errors, in the unit of the score, of the scores that have one.
    seconds : dict
        Wall-clock time of each score in seconds; moments that several scores share count with the
        first of them.

    Examples
    --------
    >>> from modtools.transferability import score
    >>> result = score([[0.0], [1.0], [3.0], [4.0]], [0, 0, 1, 1], ["ridge"])
    >>> result["ridge"], result.standard_errors["ridge"]
    (1.0, 0.0)
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}
        self.standard_errors: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def add(self, name: str, result: Any, seconds: float) -> None:
        """Add the result of one score; raise `NotFiniteScoreError` unless it is a finite number."""
        value, error = finite_estimate(name, result)
        self[name], self.seconds[name] = value, seconds
        if error is not None:
            self.standard_errors[name] = error


class ScoreRegistry(Mapping[str, Score]):
    """Registry entries by name; `register` adds a user's own score for this process.

    Examples
    --------
    >>> registry = ScoreRegistry()
    >>> registry.register(
    ...     Score("spread", "moments", lambda s: s.trace / s.n, "[0, inf), squared units", "own")
    ... )
    >>> list(registry)
    ['spread']
    """

    def __init__(self) -> None:
        self._scores: dict[str, Score] = {}

    def __getitem__(self, name: str) -> Score:
        if name not in self._scores:
            hint = f"modtools score --list shows all {len(self._scores)}."
            check_choice(name, list(self._scores), name="score", hint=hint)
        return self._scores[name]

    def names(self, wanted: Any) -> list[str]:
        """Return one or several names as a list without repeats; raise if one is unknown.

        Parameters
        ----------
        wanted : str or iterable of str
            Names of scores.

        Returns
        -------
        list of str
            Known names, in the given order.

        Raises
        ------
        ModtoolsError
            An unknown name, or something else than names.

        Examples
        --------
        >>> SCORES.names(["logme", "hscore", "logme"])
        ['logme', 'hscore']
        """
        try:
            several = [wanted] if isinstance(wanted, str) else list(wanted)
        except Exception as error:  # it cannot be iterated over, or does so in the user's code
            raise ModtoolsError(f"scores must be names of scores; got {wanted!r}.") from error
        others = [name for name in several if not isinstance(name, str)]
        if others:
            raise ModtoolsError(f"scores must be names of scores; got {others[0]!r} among them.")
        return [self[str(name)].name for name in dict.fromkeys(several)]

    def __contains__(self, name: object) -> bool:
        return name in self._scores

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def register(self, score: Score) -> None:
        """Add a score under its name; check it with `modtools.testing.check_score` first.

        Parameters
        ----------
        score : Score
            The entry.

        Raises
        ------
        ModtoolsError
            The name is taken, it is not a `Score`, or a field is not valid.
        """
        if not isinstance(score, Score):
            raise ModtoolsError(f"only a Score can be registered; got {type(score).__name__}.")
        _check_entry(score)
        if score.name in self._scores:
            raise ModtoolsError(f'score "{score.name}" is registered already; choose another name.')
        self._scores[score.name] = score

    def arrange(self, names: Sequence[str]) -> None:
        """Sort the registry in the order of `names`, which tables and results follow."""
        self._scores = {name: self._scores[name] for name in names}

    def unregister(self, name: str) -> Score:
        """Remove a score and return it."""
        score = self[name]
        del self._scores[name]
        return score


def _check_entry(score: Score) -> None:
    """Raise if a field of a score is not valid."""
    if not isinstance(score.name, str) or not score.name.strip():
        raise ModtoolsError(f"the name of a score must be a word; got {score.name!r}.")
    kinds, known = score.kinds, get_args(Kind)
    are_kinds = isinstance(kinds, tuple | list) and kinds and all(k in known for k in kinds)
    wrong = {
        f"needs must be one of {', '.join(get_args(Needs))}": score.needs not in get_args(Needs),
        "compute must be a function": not callable(score.compute),
        f"kinds must be some of {', '.join(known)}, in a tuple": not are_kinds,
        f"feature_map must be one of {', '.join(FEATURE_MAPS)}": score.feature_map
        not in list(FEATURE_MAPS),
    }
    if reason := next((text for text, is_wrong in wrong.items() if is_wrong), ""):
        raise ModtoolsError(f'score "{score.name}" cannot be registered: {reason}.')


SCORES = ScoreRegistry()


def score_summary(summary: Summary, scores: Sequence[str] | str | None = None) -> Scores:
    """Compute scores from the summary of moments; see `modtools.transferability.Moments.score`."""
    names = None if scores is None else SCORES.names(scores)
    result = Scores()
    for name in SCORES if names is None else names:
        entry = SCORES[name]
        reason = _reason_against_moments(entry, summary, by_default=names is None)
        if reason and names is not None:
            raise ModtoolsError(f'score "{name}" does not apply: {reason}.')
        if reason:
            result.skipped[name] = reason
            continue
        started = time.perf_counter()
        try:
            value = entry.compute(summary)
        except ModtoolsError as error:
            if names is not None:
                raise
            result.skipped[name] = str(error)
            continue
        result.add(name, value, time.perf_counter() - started)
    return result


def _reason_against_moments(entry: Score, summary: Summary, *, by_default: bool) -> str:
    if entry.needs != "moments":
        return f"it needs {entry.needs.replace('_', ' ')}; use score(features, labels)"
    if reason := entry.why_not(summary.kind, has_source=False):
        return reason
    if by_default and entry.feature_map != summary.feature_map:
        return f"its feature map is {entry.feature_map}; these moments carry {summary.feature_map}"
    if summary.kind == "classification" and np.count_nonzero(summary.present) < 2:
        return "the moments hold fewer than two classes"
    return ""

"""The registry of scores: what each needs, what it applies to, and how it is computed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from modtools._checks import check_choice
from modtools._feature_maps import FEATURE_MAPS
from modtools.exceptions import ModtoolsError
from modtools.tasks import Kind

__all__ = ["SCORES", "Needs", "Score", "ScoreRegistry"]

Needs: TypeAlias = Literal["moments", "features", "source_probabilities"]


@dataclass(frozen=True)
class Score:
    """One entry of the registry; higher values are always better.

    Attributes
    ----------
    name : str
        Name in the registry.
    needs : {"moments", "features", "source_probabilities"}
        What `compute` reads: a `Summary`, checked rows, or checked source-class probabilities.
    compute : callable
        ``compute(summary)``, ``compute(features, labels, seed)`` or ``compute(probabilities,
        labels)``, with encoded `Labels`; returns a float or an `Estimate` (value, standard error).
    range : str
        Range and unit, for people.
    reference : str
        Where the definition comes from.
    kinds : tuple of str
        Kinds of labels it is defined for.
    passes : int or str
        How often the rows are read.
    feature_map : str
        Key of `modtools.transferability.FEATURE_MAPS` whose moments it reads by default.
    knows_groups : bool
        Whether `compute` takes ``groups=``, an integer a row, and holds groups out as a whole.
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

    def why_not(self, kind: Kind, *, has_source: bool) -> str:
        """Return why the score does not apply to labels of a kind, or the empty string.

        >>> SCORES["leep"].why_not("classification", has_source=False)
        "it needs source_probabilities, the module's own class probabilities"
        """
        if kind not in self.kinds:
            return f"it is defined for {' and '.join(self.kinds)} labels, not {kind}"
        if self.needs == "source_probabilities" and not has_source:
            return "it needs source_probabilities, the module's own class probabilities"
        return ""


class ScoreRegistry(Mapping[str, Score]):
    """Scores by name; `register` adds one of your own for this process.

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
        """Return the wanted names (one, or several), each once and each known.

        Examples
        --------
        >>> SCORES.names(["logme", "hscore", "logme"])
        ['logme', 'hscore']
        """
        several = [wanted] if isinstance(wanted, str) else wanted
        if not isinstance(several, Iterable) or getattr(several, "ndim", 1) == 0:
            raise ModtoolsError(f"scores must be names of scores; got {wanted!r}.")
        strange = [name for name in several if not isinstance(name, str)]
        if strange:
            raise ModtoolsError(f"scores must be names of scores; got {strange[0]!r} among them.")
        return [self[str(name)].name for name in dict.fromkeys(several)]

    def __contains__(self, name: object) -> bool:
        return name in self._scores

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def register(self, score: Score) -> None:
        """Add a score under its name.

        Raises
        ------
        ModtoolsError
            The name is taken, or it is no `Score`. Check a new score with
            `modtools.testing.check_score` first.
        """
        if not isinstance(score, Score):
            raise ModtoolsError(f"only a Score can be registered; got {type(score).__name__}.")
        _check_entry(score)
        if score.name in self._scores:
            raise ModtoolsError(f'score "{score.name}" is registered already; choose another name.')
        self._scores[score.name] = score

    def unregister(self, name: str) -> Score:
        """Remove a score and return it."""
        score = self[name]
        del self._scores[name]
        return score


def _check_entry(score: Score) -> None:
    """Raise where a field of a score is not what `score` reads it as."""
    if not isinstance(score.name, str) or not score.name.strip():
        raise ModtoolsError(f"the name of a score must be a word; got {score.name!r}.")
    kinds, known = score.kinds, get_args(Kind)
    are_kinds = isinstance(kinds, tuple | list) and kinds and set(kinds) <= set(known)
    wrong = {
        f"needs must be one of {', '.join(get_args(Needs))}": score.needs not in get_args(Needs),
        "compute must be a function": not callable(score.compute),
        f"kinds must be some of {', '.join(known)}, in a tuple": not are_kinds,
        f"feature_map must be one of {', '.join(FEATURE_MAPS)}": score.feature_map
        not in FEATURE_MAPS,
    }
    if reason := next((text for text, is_wrong in wrong.items() if is_wrong), ""):
        raise ModtoolsError(f'score "{score.name}" cannot be registered: {reason}.')


SCORES = ScoreRegistry()

"""`register_score`: makes a registry entry and a checked public function from one function."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import (
    Any,
    Concatenate,
    Final,
    Literal,
    ParamSpec,
    Protocol,
    Required,
    TypeAlias,
    TypedDict,
    Unpack,
    overload,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modtools._checks import (
    as_float,
    check_choice,
    check_integer,
    check_lengths,
    check_matrix,
    check_probabilities,
    raise_if_not_finite,
)
from modtools._feature_maps import FEATURE_MAPS
from modtools._types import FloatArray
from modtools.exceptions import ModtoolsError
from modtools.tasks import Kind, Labels, encode_labels, group_codes
from modtools.transferability._registry import SCORES, Estimate, Needs, Score, finite_estimate
from modtools.transferability._summarise import summarise
from modtools.transferability._summary import Summary

__all__ = ["ANY_KIND", "check_scorable", "register_score"]

_SMALLEST: Final = 1e-70  # labels that vary by less vanish in products
ANY_KIND: Final[tuple[Kind, ...]] = ("classification", "multilabel", "regression")

Options = ParamSpec("Options")
Value: TypeAlias = float | Estimate
OfSummary: TypeAlias = Callable[Concatenate[Summary, Options], Value]
OfArrays: TypeAlias = Callable[Concatenate[FloatArray, Labels, Options], Value]
Public: TypeAlias = Callable[Concatenate[ArrayLike, ArrayLike, Options], float]


class _Fields(TypedDict, total=False):
    """Optional fields of a registry entry, see `Score`."""

    range: Required[str]
    reference: Required[str]
    kinds: tuple[Kind, ...]
    passes: int | str
    is_accuracy: bool


class _KernelScore(Protocol):
    """A public score function with an option for the feature map of the kernel."""

    __name__: str

    def __call__(
        self, features: ArrayLike, labels: ArrayLike, *, feature_map: str = ..., **options: bool
    ) -> float: ...


class _OfSummary(Protocol):
    def __call__(self, function: OfSummary[Options], /) -> Public[Options]: ...


class _OfArrays(Protocol):
    def __call__(self, function: OfArrays[Options], /) -> Public[Options]: ...


@overload
def register_score(
    *, needs: Literal["moments"], feature_map: str, **fields: Unpack[_Fields]
) -> Callable[[Callable[..., Value]], _KernelScore]: ...


@overload
def register_score(*, needs: Literal["moments"], **fields: Unpack[_Fields]) -> _OfSummary: ...


@overload
def register_score(
    *, needs: Literal["features", "source_probabilities"], **fields: Unpack[_Fields]
) -> _OfArrays: ...


def register_score(*, needs: Needs, feature_map: str = "", **fields: Unpack[_Fields]) -> Any:
    """Make a registry entry and a checked public function from one function (a decorator).

    The decorated function gets checked input and returns a float or an `Estimate`. Its name becomes
    the name of the score, and its keyword arguments become options of the public function; `score`
    leaves them at their defaults. Two keyword arguments have a meaning: with ``groups``, it gets an
    integer per example (or None) and must hold out groups as a whole; with ``seed``, it is random
    and gets the seed.

    Parameters
    ----------
    needs : {"moments", "features", "source_probabilities"}
        First argument of the function: the `Summary` of the moments; float features of shape
        (n_samples, n_features) and the encoded labels; or source-class probabilities of shape
        (n_samples, n_source_classes) and the encoded labels. A score that inverts the scatter must
        read ``summary.spectrum``, which is computed again in float64 if float32 lost digits.
    feature_map : str, optional
        Key of `FEATURE_MAPS` that is applied first; it becomes an option of the public function.
        By default the features are used as they are.
    range, reference : str
        Range with unit, and source of the definition, for people.
    kinds : tuple of str, default=("classification",)
        Kinds of labels it is defined for.
    passes : int or str, default=1
        Number of passes over the examples.
    is_accuracy : bool, default=False
        Whether, for classes, it estimates the accuracy of an output module as a fraction.

    Returns
    -------
    callable
        A decorator. It returns the public function, ``name(features, labels, **options) -> float``
        (or ``name(source_probabilities, labels, **options)``). Its docstring is completed by the
        parameters and errors that all scores share.

    Raises
    ------
    ModtoolsError
        The name is taken, or a field is not valid. Check a new score with
        `modtools.testing.check_score`.

    Examples
    --------
    >>> @register_score(needs="moments", range="[0, 1]", reference="own")
    ... def between(summary):
    ...     '''Share of the variance that lies between the classes.'''
    ...     means = summary.offsets / summary.counts[:, None]
    ...     return float((means * summary.offsets).sum() / summary.trace)
    >>> round(between([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]), 4)
    0.9901
    >>> SCORES.unregister("between").kinds
    ('classification',)
    """
    return partial(_declare, needs=needs, feature_map=feature_map, fields=fields)


def _declare(
    function: Callable[..., Value], *, needs: Needs, feature_map: str, fields: _Fields
) -> Callable[..., float]:
    options = {
        name: option
        for name, option in inspect.signature(function).parameters.items()
        if option.kind is option.KEYWORD_ONLY
    }
    entry = Score(
        function.__name__,
        needs,
        _with_seed(function, draws="seed" in options) if needs == "features" else function,
        feature_map=feature_map or "identity",
        knows_groups="groups" in options,
        **fields,
    )
    SCORES.register(entry)
    if feature_map:
        option = inspect.Parameter(
            "feature_map", inspect.Parameter.KEYWORD_ONLY, default=feature_map, annotation=str
        )
        options = {"feature_map": option, **options}
    signature = _public_signature(entry, options)
    checked = _CHECKED[needs]

    @wraps(function)
    def public(*arguments: Any, **given: Any) -> float:
        bound = signature.bind(*arguments, **given)
        inputs, chosen = checked(entry, *bound.args, bound.kwargs)
        return finite_estimate(entry.name, function(*inputs, **chosen)).value

    public.__signature__ = signature  # type: ignore[attr-defined]
    public.__doc__ = _documentation(function.__doc__ or "", entry, options)
    return public


def _with_seed(function: Callable[..., Value], *, draws: bool) -> Callable[..., Value]:
    """Return the function as `Score.compute`, which gets a seed even if nothing is random."""

    def compute(features: FloatArray, labels: Labels, seed: int = 0, **groups: Any) -> Value:
        return function(features, labels, **groups, **({"seed": seed} if draws else {}))

    return compute


def _public_signature(entry: Score, options: Mapping[str, inspect.Parameter]) -> inspect.Signature:
    first = "features" if entry.needs != "source_probabilities" else "source_probabilities"
    inputs = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation="ArrayLike")
        for name in (first, "labels")
    ]
    return inspect.Signature([*inputs, *options.values()], return_annotation=float)


# Checks ---------------------------------------------------------------------------------------


def check_scorable(labels: Labels, *, kinds: Sequence[Kind], score: str) -> Labels:
    """Return the labels if a score is defined for their kind and they have two different values."""
    if labels.kind not in kinds:
        raise ModtoolsError(
            f"{score} is defined for {' and '.join(kinds)} labels; these are {labels.kind}."
        )
    present = np.flatnonzero(labels.counts())
    if labels.kind == "classification" and len(present) < 2:
        only = labels.classes[present[0]].item() if len(present) else None
        raise ModtoolsError(
            f"labels must hold at least two classes; all {len(labels)} examples are {only!r}."
        )
    if labels.kind != "classification" and np.ptp(labels.target_matrix(), axis=0).max() < _SMALLEST:
        raise ModtoolsError(
            "labels must vary in at least one target column; every column is constant "
            f"(to within {_SMALLEST:.0e})."
        )
    return labels


def _checked_summary(
    entry: Score, features: Any, labels: Any, options: dict[str, Any]
) -> tuple[tuple[Summary], dict[str, Any]]:
    """Return the float64 summary of features (n_samples, n_features) and labels, and options."""
    matrix: NDArray[Any] = check_matrix(features)
    encoded = _checked_labels(entry, labels, features=matrix)
    feature_map = options.pop("feature_map", entry.feature_map)
    check_choice(feature_map, list(FEATURE_MAPS), name="feature_map")
    return (summarise(matrix, encoded, feature_map=feature_map, precision="float64"),), options


def _checked_features(
    entry: Score, features: Any, labels: Any, options: dict[str, Any]
) -> tuple[tuple[FloatArray, Labels], dict[str, Any]]:
    """Return finite float features (n_samples, n_features), encoded labels, and options."""
    matrix = as_float(check_matrix(features))
    raise_if_not_finite(matrix)
    encoded = _checked_labels(entry, labels, features=matrix)
    if "seed" in options:
        options["seed"] = check_integer(options["seed"], name="seed", minimum=0)
    if "groups" in options:
        options["groups"] = group_codes(options["groups"], len(matrix))
    return (matrix, encoded), options


def _checked_probabilities(
    entry: Score, source_probabilities: Any, labels: Any, options: dict[str, Any]
) -> tuple[tuple[FloatArray, Labels], dict[str, Any]]:
    """Return probabilities (n_samples, n_source_classes), encoded labels, and options."""
    probabilities = check_probabilities(source_probabilities)
    return (
        probabilities,
        _checked_labels(entry, labels, source_probabilities=probabilities),
    ), options


def _checked_labels(entry: Score, labels: Any, **arrays: NDArray[Any]) -> Labels:
    encoded = encode_labels(labels)
    check_lengths(**arrays, labels=encoded)
    return check_scorable(encoded, kinds=entry.kinds, score=entry.name)


_CHECKED: Final[dict[Needs, Callable[..., Any]]] = {
    "moments": _checked_summary,
    "features": _checked_features,
    "source_probabilities": _checked_probabilities,
}


# Documentation --------------------------------------------------------------------------------

_LABELS: Final[dict[Kind, str]] = {
    "classification": "classes",
    "multilabel": "0/1 labels",
    "regression": "real targets",
}
_SECTION: Final = re.compile(r"\n\n(?=[A-Z][A-Za-z ]+\n-{3,}\n)")


def _documentation(text: str, entry: Score, options: Mapping[str, inspect.Parameter]) -> str:
    """Return the docstring of a score, completed by the sections that all public scores share."""
    summary, *parts = _SECTION.split(inspect.cleandoc(text))
    written = {title: body for title, _, body in (part.split("\n", 2) for part in parts)}
    before, after = _inputs_documented(entry, options)
    is_source = entry.needs == "source_probabilities"
    wrong = "Rows that do not sum to 1" if is_source else "Features that are not finite"
    raises = f"ModtoolsError\n    {wrong}, lengths that differ, fewer than two classes."
    shared = {
        "Parameters": "\n".join(filter(None, [*before, written.pop("Parameters", ""), *after])),
        "Returns": written.pop("Returns", "float\n    Higher is better."),
        "Raises": "\n".join(filter(None, [raises, written.pop("Raises", "")])),
    }
    complete = (shared | written).items()
    sections = (f"{title}\n{'-' * len(title)}\n{body}" for title, body in complete)
    return "\n\n".join([summary, *sections])


def _inputs_documented(
    entry: Score, options: Mapping[str, inspect.Parameter]
) -> tuple[list[str], list[str]]:
    """Return the parameter entries that come before and after the score's own options."""
    first = (
        "features : array-like of shape (n_samples, n_features)\n"
        "    Features: output of a module. Not changed."
    )
    if entry.needs == "source_probabilities":
        first = (
            "source_probabilities : array-like of shape (n_samples, n_source_classes)\n"
            "    Class probabilities of the module's own (source) head; each row sums to 1."
        )
    *others, last = (_LABELS[kind] for kind in entry.kinds)
    names = f"{', '.join(others)} or {last}" if others else last
    wide = " or (n_samples, n_targets)" if others else ""
    labels = f"labels : array-like of shape (n_samples,){wide}\n    {names[0].upper()}{names[1:]}."
    documented = {
        "feature_map": 'feature_map : str, default="{}"\n'
        "    Key of `modtools.transferability.FEATURE_MAPS`.",
        "groups": "groups : array-like of shape (n_samples,), optional\n"
        "    Group of each example, for example the image that crops come from. A group is held\n"
        "    out as a whole, and never split.",
        "seed": "seed : int, default={}\n"
        "    Seed of the random splits or orders. Examples are sorted by content first, so their\n"
        "    order and the names of classes and groups change nothing.",
    }
    entries = {
        name: text.format(options[name].default)
        for name, text in documented.items()
        if name in options
    }
    feature_map = entries.pop("feature_map", "")
    return [first, labels, *filter(None, [feature_map])], list(entries.values())

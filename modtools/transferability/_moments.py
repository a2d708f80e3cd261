"""`Moments`: mergeable sufficient statistics of features and labels, from one pass."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, check_lengths, check_matrix, check_positive
from modtools._feature_maps import FEATURE_MAPS
from modtools._types import FloatMatrix, is_tensor
from modtools.exceptions import ModtoolsError
from modtools.outputs import Grain, grain_of
from modtools.tasks import Kind, Labels, encode_labels
from modtools.transferability._accumulate import Precision, accumulate, accumulate_tensor
from modtools.transferability._registry import Scores, score_summary
from modtools.transferability._spectrum import (
    LossWarning,
    ScatterParts,
    class_logdets_of,
    logdet_plus_identity,
    spectrum_of,
)
from modtools.transferability._summary import Spectrum, Summary, diagonal_of_sums
from modtools.transferability._sums import Sums

__all__ = ["Moments", "choose_precision", "merged_weights", "weights_by_class"]

_EXACT_SIZE = 10_000_000


def choose_precision(features: Any, kind: Kind) -> Precision:
    """Return float32 for large float32 features with classes, where it is faster; else float64."""
    small = features.shape[0] * features.shape[1] < _EXACT_SIZE
    is_double = str(features.dtype).endswith("float64")
    return "float64" if small or is_double or kind == "regression" else "float32"


@dataclass(frozen=True, eq=False)
class Moments:
    """Mergeable moments of features and labels: one pass, memory independent of n_samples.

    Create them with `from_features` (arrays in memory) or `from_batches` (a stream). They are
    immutable: `update` and `merge` return new objects. The sums are float64, relative to a median
    of the features, so neither a large constant offset nor the unit of a column costs digits.

    Attributes
    ----------
    kind : {"classification", "multilabel", "regression"}
        Kind of the labels.
    classes : ndarray of shape (n_classes,)
        Sorted label values; column numbers for multi-label tasks and regression.
    feature_map : str
        Key of `FEATURE_MAPS`, applied to the features of each example first.
    n_samples : int
        Number of examples.
    precision : {"float32", "float64"}
        Type in which the blocks were multiplied; the lowest of all merged parts.

    Examples
    --------
    >>> import numpy as np
    >>> features, labels = np.eye(4), np.array([0, 0, 1, 1])
    >>> left = Moments.from_features(features[:2], labels[:2], classes=[0, 1])
    >>> right = Moments.from_features(features[2:], labels[2:], classes=[0, 1])
    >>> both = left.merge(right)
    >>> both.n_samples, both.counts.tolist(), both.mean.tolist()
    (4, [2.0, 2.0], [0.25, 0.25, 0.25, 0.25])
    """

    kind: Kind
    classes: NDArray[Any]
    feature_map: str
    n_samples: int
    precision: Precision
    _sums: Sums = field(repr=False)
    _diagonal: Sums = field(repr=False)
    _shift: FloatMatrix = field(repr=False)
    _target_shift: FloatMatrix = field(repr=False)
    _grain: Grain = field(repr=False)
    _class_weights: Mapping[Any, float] | None = field(repr=False)
    _parts: frozenset[str] = field(repr=False)

    @classmethod
    def from_features(
        cls,
        features: Any,
        labels: Any,
        *,
        kind: Kind | None = None,
        classes: Sequence[Any] | None = None,
        feature_map: str = "identity",
        class_weights: Mapping[Any, float] | str | None = None,
        class_second_moments: bool = False,
        precision: Precision | None = None,
    ) -> "Moments":
        """Compute the moments of features in memory.

        Parameters
        ----------
        features : array-like or tensor of shape (n_samples, n_features)
            Real numbers of any type; a tensor on a GPU is summed there.
        labels : array-like of shape (n_samples,) or (n_samples, n_targets)
            Classes, a 0/1 matrix (multi-label) or floats (regression).
        kind : {"classification", "multilabel", "regression"}, optional
            Kind of the labels; inferred by default.
        classes : sequence, optional
            All label values, needed if a shard may lack some; other labels raise.
        feature_map : str, default="identity"
            Key of `FEATURE_MAPS`.
        class_weights : {"balanced"} or mapping from label to weight, optional
            Weight of each example, by its class. Only explicit weights can be merged.
        class_second_moments : bool, default=False
            Keep one second moment per class (n_classes d^2 floats), as `transrate` needs.
        precision : {"float32", "float64"}, optional
            Type of the products. By default float64, except for float32 input of at least 1e7
            entries.

        Returns
        -------
        Moments
            Immutable moments of the examples.

        Raises
        ------
        ModtoolsError
            NaN or infinite entries, wrong shapes, lengths that differ, unknown names.
        """
        on_device = _is_on_device(features)
        array = features if on_device else check_matrix(features, minimum_rows=1)
        encoded = encode_labels(labels, kind=kind, classes=classes)
        check_lengths(features=array, labels=encoded)
        check_choice(feature_map, list(FEATURE_MAPS), name="feature_map")
        weights = weights_by_class(encoded, class_weights)
        chosen = precision or choose_precision(array, encoded.kind)
        check_choice(chosen, ["float32", "float64"], name="precision")
        sum_up: Callable[..., Any] = accumulate_tensor if on_device else accumulate
        sums, shift, target_shift = sum_up(
            array,
            encoded,
            FEATURE_MAPS[feature_map],
            precision=chosen,
            weights=None if weights is None else weights[encoded.codes],
            keep_class_xx=class_second_moments and encoded.kind == "classification",
        )
        named = None
        if weights is not None:
            named = dict(zip(encoded.classes.tolist(), weights.tolist(), strict=True))
        part = frozenset([uuid.uuid4().hex])
        grain = grain_of(array, FEATURE_MAPS[feature_map])
        shape = (encoded.kind, encoded.classes, feature_map, len(array), chosen)
        return cls(*shape, sums[0], sums[-1], shift, target_shift, grain, named, part)

    @classmethod
    def from_batches(
        cls,
        batches: Iterable[tuple[Any, Any]],
        *,
        classes: Sequence[Any] | None = None,
        **options: Any,
    ) -> "Moments":
        """Compute the moments of a stream of (features, labels) batches.

        Parameters
        ----------
        batches : iterable of (features, labels)
            Arrays or tensors of shape (n_batch, n_features), with their labels.
        classes : sequence, optional
            All label values, needed if a batch may lack some.
        **options
            Other arguments of `from_features`.

        Returns
        -------
        Moments
            Immutable moments of all examples.

        Raises
        ------
        ModtoolsError
            No batches, or bad input as in `from_features`.

        Examples
        --------
        >>> import numpy as np
        >>> stream = ((np.ones((2, 3)) * i, [0, 1]) for i in range(5))
        >>> Moments.from_batches(stream, classes=[0, 1]).n_samples
        10
        """
        total: Moments | None = None
        for features, labels in map(_pair, _iterated(batches)):
            part = cls.from_features(features, labels, classes=classes, **options)
            total = part if total is None else total.merge(part)
        if total is None:
            raise ModtoolsError("batches must hold at least one batch; the stream was empty.")
        return total

    def update(self, features: Any, labels: Any) -> "Moments":
        """Return the moments of all examples so far and of another batch.

        Parameters
        ----------
        features : array-like or tensor of shape (n_batch, n_features)
            Features of the batch.
        labels : array-like of shape (n_batch,) or (n_batch, n_targets)
            Labels of the batch, of the same kind.

        Returns
        -------
        Moments
            New moments; this object does not change.

        Raises
        ------
        ModtoolsError
            Bad input as in `from_features`, or another number of features.

        Examples
        --------
        >>> first = Moments.from_features([[0.0], [1.0]], [0, 1])
        >>> first.update([[2.0]], [1]).n_samples, first.n_samples
        (3, 2)
        """
        part = Moments.from_features(
            features,
            labels,
            kind=self.kind,
            feature_map=self.feature_map,
            class_weights=self._class_weights,
            class_second_moments=self._sums.class_xx is not None,
            precision=self.precision,
        )
        return self.merge(part)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of the examples of both; neither operand changes.

        Parameters
        ----------
        other : Moments
            Moments of other examples.

        Returns
        -------
        Moments
            New moments.

        Raises
        ------
        ModtoolsError
            Different feature maps, kinds of labels, numbers of features or weights, or moments that
            share examples.
        """
        if not isinstance(other, Moments):
            raise ModtoolsError(f"merge needs Moments; got {type(other).__name__}.")
        for name in ("kind", "feature_map"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise ModtoolsError(
                    f"moments to merge must share their {name}; got {ours}, {theirs}."
                )
        if len(self._shift) != len(other._shift):
            raise ModtoolsError(
                "moments to merge must have the same number of features; "
                f"got {len(self._shift)} and {len(other._shift)}."
            )
        if self._parts & other._parts:
            raise ModtoolsError(
                "moments to merge must not share examples: "
                "the same part is in both and would count twice."
            )
        if self.kind != "classification" and len(self.classes) != len(other.classes):
            raise ModtoolsError(
                "moments to merge must have the same number of target columns; "
                f"got {len(self.classes)} and {len(other.classes)}."
            )
        if (self.classes.dtype.kind in "US") != (other.classes.dtype.kind in "US"):
            raise ModtoolsError(
                "moments to merge must have labels of one type; "
                f"got {self.classes.dtype} and {other.classes.dtype}."
            )
        return self._add(other)

    def _add(self, other: "Moments") -> "Moments":
        classes, ours, theirs = self.classes, None, None
        target_shift, other_shift = self._target_shift, other._target_shift
        if self.kind == "classification":
            classes = _union(self.classes, other.classes)
            ours = np.searchsorted(classes, self.classes.astype(classes.dtype))
            theirs = np.searchsorted(classes, other.classes.astype(classes.dtype))
            target_shift = other_shift = np.zeros(len(classes))  # one-hot targets are not shifted

        def combine(left: Sums, right: Sums) -> Sums:
            if ours is not None and theirs is not None:
                left, right = left.place(ours, len(classes)), right.place(theirs, len(classes))
            moved = right.about(self._shift - other._shift, target_shift - other_shift)
            return left + moved

        sums = combine(self._sums, other._sums)
        same = self._sums is self._diagonal and other._sums is other._diagonal
        return Moments(
            self.kind,
            classes,
            self.feature_map,
            self.n_samples + other.n_samples,
            min(self.precision, other.precision),
            sums,
            sums if same else combine(self._diagonal, other._diagonal),
            self._shift,
            target_shift,
            self._grain.merge(other._grain),
            merged_weights(self._class_weights, other._class_weights),
            self._parts | other._parts,
        )

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self._shift)

    @property
    def counts(self) -> FloatMatrix:
        """(Weighted) number of examples per class or label, or sums of targets, (n_classes,)."""
        return self._sums.t + self._sums.n * self._target_shift

    @property
    def mean(self) -> FloatMatrix:
        """(Weighted) mean of the mapped features, (n_features,)."""
        return self._shift + self._sums.x / self._sums.n

    @property
    def class_means(self) -> FloatMatrix:
        """Mean of each class, (n_classes, n_features); zeros for absent classes.

        Regression targets have no classes and raise a `ModtoolsError`.
        """
        if self.kind == "regression":
            raise ModtoolsError("class_means needs classes; these labels are regression targets.")
        counts = self._sums.t[:, None]
        return np.where(
            counts > 0, self._shift + self._sums.tx / np.where(counts > 0, counts, 1), 0.0
        )

    @property
    def scatter(self) -> FloatMatrix:
        """Scatter matrix: sum of (x - mean)(x - mean)', (n_features, n_features)."""
        s = self._sums
        return s.xx - np.outer(s.x, s.x / s.n)

    @property
    def second_moment(self) -> FloatMatrix:
        """Uncentred second moment: sum of x x', (n_features, n_features)."""
        return self._sums.about(-self._shift, np.zeros(len(self._sums.t))).xx

    def summary(self) -> Summary:
        """Return the centred statistics that the scores read."""
        s = self._sums
        mean, target_mean = s.x / s.n, s.t / s.n
        scatter = self.scatter
        offsets = s.tx - np.outer(target_mean, s.x)
        centre = self.mean
        target_second = s.tt + np.outer(s.t, self._target_shift)
        target_second = target_second + np.outer(self._target_shift, self.counts)
        within = np.zeros_like(s.squares)
        if self.kind == "classification":
            within = s.within_squares

        return Summary(
            kind=self.kind,
            n=s.n,
            n_rows=self.n_samples,
            n_features=self.n_features,
            weighted=self._class_weights is not None,
            counts=self.counts,
            target_second=target_second,
            target_scatter=s.tt - np.outer(s.t, target_mean),
            mean=centre,
            offsets=offsets,
            trace=float(np.trace(scatter)),
            scatter_norm2=float(np.vdot(scatter, scatter)),
            mean_scatter_mean=float(centre @ scatter @ centre),
            within_squares=within,
            diagonal=diagonal_of_sums(self._diagonal, -self._shift, mean, target_mean),
            feature_map=self.feature_map,
            precision=self.precision,
            **self._decompositions(),
        )

    def _decompositions(self) -> dict[str, Any]:
        """Return the callables of `Summary`, which share one warning (MT008)."""
        s, warning = self._sums, LossWarning(of_rows=False)

        def decompose() -> Spectrum:
            spectrum = self._decompose()
            warning.give(spectrum.loss)
            return spectrum

        def total_logdet(delta: float) -> float:
            return logdet_plus_identity(self.scatter * (delta / s.n)).value

        def class_logdets(delta: float) -> FloatMatrix:
            logdets, error = class_logdets_of(s, delta)
            warning.give(error)
            return logdets

        return {
            "decompose": decompose,
            "total_logdet": total_logdet,
            "class_logdets": None if s.class_xx is None else class_logdets,
        }

    def _decompose(self) -> Spectrum:
        """Return the spectrum of the scatter, with mean and targets in its eigenbasis."""
        s = self._sums
        offsets = s.tx - np.outer(s.t / s.n, s.x)
        parts = ScatterParts(self.scatter, np.diag(s.xx), self.mean, offsets, s.n, self.n_samples)
        return spectrum_of(parts, self._grain, self.precision)

    def score(self, scores: Sequence[str] | str | None = None) -> Scores:
        """Compute scores from these moments.

        Parameters
        ----------
        scores : sequence of str, optional
            Names from `SCORES`, computed with the feature map of the moments. By default all that
            apply and have this feature map as their default.

        Returns
        -------
        modtools.transferability.Scores
            A dict name -> float with `.skipped`, `.standard_errors` and `.seconds`.

        Raises
        ------
        ModtoolsError
            An unknown score, or one requested by name that does not apply.

        See Also
        --------
        modtools.transferability.score : Scores from features in memory, all kinds of scores.

        Examples
        --------
        >>> moments = Moments.from_features([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1])
        >>> round(moments.score(["hscore"])["hscore"], 4)
        0.9901
        """
        return score_summary(self.summary(), scores)


def _iterated(batches: Any) -> Iterable[Any]:
    if not isinstance(batches, Iterable):
        raise ModtoolsError(f"batches must be pairs (features, labels); got {batches!r}.")
    return batches


def _pair(batch: Any) -> tuple[Any, Any]:
    try:
        features, labels = batch
    except (TypeError, ValueError) as error:
        raise ModtoolsError(
            f"each of batches must be a pair (features, labels); got a {type(batch).__name__}: "
            f"{error}."
        ) from error
    return features, labels


def _union(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Return the label values of both, sorted; none is rounded to meet another type."""
    dtype = np.result_type(left, right)
    both = np.union1d(left.astype(dtype), right.astype(dtype))
    if dtype.kind != "f" or left.dtype.kind == right.dtype.kind:
        return both
    # Signed and unsigned numbers of 64 bits, or large ones beside floats, become floats in numpy.
    values = sorted({*left.tolist(), *right.tolist()})
    if "f" in (left.dtype.kind, right.dtype.kind):
        exact = both if both.tolist() == values else None
    else:
        limits = ((kind, np.iinfo(kind)) for kind in (np.int64, np.uint64))
        fitting = (k for k, limit in limits if limit.min <= values[0] and values[-1] <= limit.max)
        exact = next((np.array(values, dtype=kind) for kind in fitting), None)
    if exact is None:
        raise ModtoolsError(
            "moments to merge must have labels of one type; no number holds all labels of "
            f"{left.dtype} and {right.dtype}."
        )
    return exact


def _is_on_device(features: Any) -> bool:
    return is_tensor(features) and features.device.type not in ("cpu", "meta")


def weights_by_class(labels: Labels, class_weights: Mapping[Any, float] | str | None) -> Any:
    """Return the weight of each class in the order of `labels.classes`, or None."""
    if class_weights is None:
        return None
    if labels.kind != "classification":
        raise ModtoolsError(f"class_weights apply to classes only; the labels are {labels.kind}.")
    if isinstance(class_weights, str):
        check_choice(class_weights, ["balanced"], name="class_weights")
        counts = labels.counts()
        present = np.count_nonzero(counts)
        return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 1.0)
    if not isinstance(class_weights, Mapping):
        raise ModtoolsError(
            f'class_weights must be "balanced" or a dict {{class: weight}}; got {class_weights!r}.'
        )
    missing = [c for c in labels.classes.tolist() if c not in class_weights]
    if missing:
        raise ModtoolsError(f"class_weights must name every class; {missing[0]!r} is missing.")
    return np.array(
        [
            check_positive(class_weights[c], name=f"class_weights[{c!r}]")
            for c in labels.classes.tolist()
        ]
    )


def merged_weights(
    left: Mapping[Any, float] | None, right: Mapping[Any, float] | None
) -> Mapping[Any, float] | None:
    """Return the merged class weights of two moments, or raise if they disagree."""
    if left is None and right is None:
        return None
    if left is None or right is None:
        raise ModtoolsError("moments to merge must both have class weights, or neither.")
    different = [c for c in left if c in right and left[c] != right[c]]
    if different:
        c = different[0]
        raise ModtoolsError(
            f"moments to merge must share their class weights; class {c!r} has {left[c]:.6g} and "
            f"{right[c]:.6g}. Pass the same mapping to both ('balanced' depends on the shard)."
        )
    return {**left, **right}

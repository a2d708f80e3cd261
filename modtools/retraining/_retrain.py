"""Fit an output module on the features of a frozen module: the only thing that is trained."""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils.validation import has_fit_parameter

from modtools._checks import check_choice, check_features, check_matrix, raise_if_not_finite
from modtools._types import SupportsArray
from modtools.exceptions import ModtoolsError
from modtools.modules import (
    CombinedModule,
    ForwardOptions,
    PretrainedModule,
    Zoo,
    check_forward,
    extract_members,
)
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput, RidgeRegressionOutput
from modtools.retraining._reused import ReusedModel
from modtools.tasks import Kind, Task

if TYPE_CHECKING:
    import torch

__all__ = ["OUTPUTS", "retrain"]

OUTPUTS: Final[dict[str, type]] = {
    "class_mean": ClassMeanOutput,
    "logistic": LogisticOutput,
    "ridge": RidgeOutput,
}
_LARGEST_LOSS: Final = 1e-3  # of the range of a column, by rounding to float32
_FOR_KIND: Final[dict[Kind, dict[str, type]]] = {
    "classification": OUTPUTS,
    "multilabel": {"ridge": RidgeOutput},
    "regression": {"ridge": RidgeRegressionOutput},
}


@runtime_checkable
class Predictor(Protocol):
    """What scikit-learn calls an estimator, where it predicts."""

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from labelled features."""

    def predict(self, X: Any) -> Any:
        """Return the predicted labels."""


def retrain(
    module: PretrainedModule | CombinedModule | ArrayLike | Mapping[str, ArrayLike],
    task: Task | ArrayLike,
    *,
    features: "ArrayLike | Mapping[str, ArrayLike] | None" = None,
    output: str | BaseEstimator | None = None,
    unlabelled: Any = None,
    allow_missing_classes: bool = False,
    device: "str | torch.device | None" = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: bool | str | os.PathLike[str] | None = None,
) -> ReusedModel:
    """Reuse a frozen module: fit only an output module on its features.

    Nothing in the module changes, statistics of batch norms included. The result is as accurate as
    a retrained output module can be, which is not what fine-tuning the whole network would give.

    Parameters
    ----------
    module : PretrainedModule or CombinedModule
        The module, read at one layer, or several modules as one: their features side by side, which
        an output module of modtools gives equal energy (another estimator gets them as they are).
        Or its features, extracted before: an array of shape (n_samples, n_features), or a dict of
        one ``{name: features}``. The model then reads features too, wherever it takes inputs.
    task : Task or array-like of shape (n_samples,)
        The labelled examples; with features that were given, the labels are enough.
    features : array-like of shape (n_samples, n_features), or dict of these, optional
        Features of the labelled examples by this module, extracted before: then nothing runs. For a
        CombinedModule, a dict of those of its modules, in their order.
    output : {"logistic", "ridge", "class_mean"} or estimator, optional
        The output module: a name, or a scikit-learn classifier (for numbers as labels, regressor),
        which is cloned before it is fitted. By default "logistic" for classification and "ridge"
        otherwise: one ridge regression per label column, whose label is predicted from one half on,
        or per target.
    unlabelled : Task, array, tensor or list of str, optional
        Unlabelled inputs, for an output module whose ``fit`` takes ``unlabelled``
        (`ClassMeanOutput`); the labels of a task are not read. Where `features` are given, features
        of these inputs.
    allow_missing_classes : bool, default=False
        Whether classes of the task may lack a labelled example. They are then never predicted, and
        the model lists them in `missing_classes`. With unlabelled inputs, as many of their clusters
        stay unassigned: `ReusedModel.unassigned_clusters` tells which inputs lie in them.
    device : str or torch.device, optional
        Where to run; the network is moved there and back. None runs where the network is.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass; features are float32 always.
    batch_size : int, default=64
        Inputs in one forward pass.
    cache : bool, str or path, optional
        Where features are kept, as in `extract`.

    Returns
    -------
    ReusedModel
        The frozen module with its fitted output module and the names of the classes.

    Raises
    ------
    ModtoolsError
        A class without a labelled example, features that do not vary, several layers, an output
        module for another kind of task, options of forward passes where features are given.

    Examples
    --------
    >>> import numpy as np
    >>> from modtools.modules import pixels
    >>> images = np.repeat(np.array([0, 200], dtype=np.uint8), 3)[:, None, None] * np.ones((2, 2))
    >>> task = Task(images.astype(np.uint8), ["dark"] * 3 + ["bright"] * 3)
    >>> model = retrain(pixels(), task, output="ridge")
    >>> model.predict(np.full((1, 2, 2), 255, dtype=np.uint8)).tolist()
    ['bright']
    >>> features = images.reshape(6, 4) / 255
    >>> retrain(pixels(), task, features=features).predict(images[:1].astype(np.uint8)).tolist()
    ['dark']
    >>> retrain({"pixels": features}, task.labels, output="ridge").predict(features[:1]).tolist()
    ['dark']
    """
    started = time.perf_counter()
    frozen, labelled = _of_features(module, task, features)
    _check_task(frozen, labelled)
    forward = ForwardOptions(device=device, precision=precision, batch_size=batch_size, cache=cache)
    # Features given as the module become the inputs of a new task.
    check_forward(runs=labelled is task and features is None, **forward)
    missing = _missing_classes(labelled, allow=allow_missing_classes)
    estimator = _make_output(output, labelled.kind)
    others: dict[str, Any] = {}
    if unlabelled is not None:
        _check_reads_unlabelled(estimator)
        given = None if features is None else unlabelled
        others["unlabelled"] = _side_by_side(_members_of(frozen, unlabelled, given, forward))
        _expect_all_classes(estimator, len(labelled.classes))
    members = _members_of(frozen, labelled, features, forward)
    _check_lengths(members, labelled)
    _expect_blocks(estimator, members)
    estimator.fit(_varying(_side_by_side(members), frozen), labelled.labels, **others)
    return ReusedModel(
        frozen,
        estimator,
        classes=labelled.classes,
        missing_classes=missing,
        task_name=labelled.name,
        kind=labelled.kind,
        row_fingerprints=labelled.row_fingerprints,
        seconds=time.perf_counter() - started,
    )


def _of_features(module: Any, task: Any, given_beside: Any) -> tuple[Any, Any]:
    """Return given features as the inputs of a task, with a module that passes them on."""
    from torch import nn

    name, features = "features", module
    if isinstance(module, Mapping) and not isinstance(module, Zoo):
        if len(module) != 1:
            raise ModtoolsError(
                f"an output module is trained on one dict entry {{name: features}}; got "
                f"{len(module)}. Put several side by side, in one array."
            )
        [(name, features)] = module.items()
    if not isinstance(features, list | SupportsArray):
        return features, task
    if given_beside is not None:
        raise ModtoolsError(
            "features= is for a module that would have to run; the first argument holds features "
            "already. Leave one of them out."
        )
    array = check_matrix(features, name=f'features of "{name}"', minimum_rows=1)
    _check_fits_float32(array, name=str(name))
    given = Task.of(task)
    _check_lengths({name: array}, given)
    called = str(name).replace("@", " at ")  # a layer is part of the name of features only
    passing = PretrainedModule(nn.Identity(), name=called, build=("torch.nn:Identity", {}))
    own = given.name if given.has_inputs else "task"
    return passing, Task(array, given.encoded, name=own, groups=given.groups)


def _check_fits_float32(features: NDArray[Any], *, name: str) -> None:
    """Raise where float32, in which a module passes features on, would drown their differences."""
    if features.dtype == np.float32:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        lost = np.abs(features - features.astype(np.float32)).max(axis=0)
    spread = np.ptp(features, axis=0)
    drowned = np.flatnonzero(np.isfinite(lost) & (lost > _LARGEST_LOSS * spread) & (spread > 0))
    if drowned.size:
        column = drowned[0]
        raise ModtoolsError(
            f'features of "{name}" are too alike for float32, in which a reused model reads them: '
            f"column {column} spans {spread[column]:.2g} around {features[0, column]:.4g} "
            f"({drowned.size} such). Subtract the mean of each column first."
        )


def _members_of(
    module: PretrainedModule | CombinedModule,
    inputs: Any,
    features: "ArrayLike | Mapping[str, ArrayLike] | None",
    forward: ForwardOptions,
) -> dict[str, NDArray[Any]]:
    """Return the features of a module, or of the parts of one: those given, or extracted now."""
    if features is None:
        return dict(extract_members(module, inputs, **forward))
    given = features if isinstance(features, Mapping) else {module.names[0]: features}
    own = module.members if isinstance(module, CombinedModule) else module.names
    if len(given) != len(own):
        got = ", ".join(map(str, given)) or "none" if given is features else "one array"
        raise ModtoolsError(
            f"features must be a dict with one entry for each of {', '.join(own)}, in this order; "
            f"got {got}."
        )
    found: dict[str, NDArray[Any]] = {}
    for name, array in given.items():
        called = f'features of "{name}"'
        found[str(name)] = check_features(array, name=called, minimum_rows=1)
        raise_if_not_finite(found[str(name)], name=called)
    return found


def _check_lengths(features: Mapping[str, NDArray[Any]], task: Task) -> None:
    for name, array in features.items():
        if len(array) != len(task):
            raise ModtoolsError(
                f'features of "{name}" have {len(array)} rows, the task has {len(task)} labels; '
                "each row must belong to one label, in the same order."
            )


def _check_task(module: PretrainedModule | CombinedModule, task: Any) -> None:
    if not isinstance(task, Task):
        raise ModtoolsError(
            f"task must be a Task, inputs with labels; got {type(task).__name__}. "
            "Make one: Task(inputs, labels)."
        )
    if len(task) < 2:
        raise ModtoolsError(
            f"an output module is trained on at least two labelled examples; {task.name} has one."
        )
    layers = module.layers if isinstance(module, PretrainedModule) else ()
    if len(layers) > 1:
        raise ModtoolsError(
            f"{module.name} is read at {len(layers)} layers; choose one: module.at({layers[0]!r})."
        )


def _missing_classes(task: Task, *, allow: bool) -> NDArray[Any]:
    """Return the classes without a labelled example, or name them in an error."""
    if task.kind == "regression":
        return task.classes[:0]
    missing: NDArray[Any] = task.classes[task.encoded.counts() == 0]
    if len(missing) and not allow:
        named = ", ".join(f'"{name}"' for name in missing.tolist())
        noun, verb = ("class", "has") if len(missing) == 1 else ("classes", "have")
        raise ModtoolsError(
            f"{noun} {named} {verb} no labelled example in {task.name}. Label one of each, or use "
            "allow_missing_classes=True: then they are never predicted."
        )
    return missing


def _make_output(output: Any, kind: Kind) -> Any:
    """Return an unfitted output module of a name, or a clone of the caller's estimator."""
    if output is None:
        output = "logistic" if kind == "classification" else "ridge"
    if isinstance(output, str):
        check_choice(output, list(OUTPUTS), name="output")
        if output not in _FOR_KIND[kind]:
            raise ModtoolsError(
                f'output="{output}" is for classification; a {kind} task needs output="ridge".'
            )
        return _FOR_KIND[kind][output]()
    if isinstance(output, type) or not isinstance(output, Predictor):
        raise ModtoolsError(
            f"output must be one of {', '.join(OUTPUTS)}, or a scikit-learn estimator; "
            f"got {output!r}."
        )
    wrong, needed = RegressorMixin, "classifier"
    if kind == "regression":
        wrong, needed = ClassifierMixin, "regressor"
    if isinstance(output, wrong):
        raise ModtoolsError(f"a {kind} task needs a {needed}; got {type(output).__name__}.")
    return clone(output)


def _check_reads_unlabelled(estimator: Any) -> None:
    if not has_fit_parameter(estimator, "unlabelled"):
        raise ModtoolsError(
            "unlabelled= is for an output module that learns from unlabelled examples; "
            f'{type(estimator).__name__} does not. Use output="class_mean".'
        )


def _expect_all_classes(estimator: Any, n_classes: int) -> None:
    """Tell an output module how many classes there are, with or without a labelled example."""
    if estimator.get_params(deep=False).get("n_classes", n_classes) is None:
        estimator.set_params(n_classes=n_classes)


def _expect_blocks(estimator: Any, members: Mapping[str, NDArray[Any]]) -> None:
    """Tell an output module which columns belong to which of several modules."""
    options = estimator.get_params(deep=False)
    if len(members) > 1 and options.get("blocks", ()) is None:
        estimator.set_params(blocks=[features.shape[1] for features in members.values()])


def _side_by_side(members: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    parts = list(members.values())
    return parts[0] if len(parts) == 1 else np.hstack(parts)


def _varying(features: NDArray[Any], module: PretrainedModule | CombinedModule) -> NDArray[Any]:
    """Return the features, or raise where they are the same in all examples."""
    if len(features) > 1 and not np.ptp(features, axis=0).any():
        zero = "" if features.any() else ", all zero,"
        raise ModtoolsError(
            f'the features of "{module.names[0]}" are the same{zero} in all {len(features)} '
            "examples, so no output module can learn from them. Choose another module or layer."
        )
    return features

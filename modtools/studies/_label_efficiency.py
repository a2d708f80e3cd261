"""`label_efficiency`: how many labels each module needs, over random subsets, resumable."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from modtools._reading import at_home
from modtools._workers import check_jobs
from modtools.exceptions import warns_once
from modtools.modules import ModuleCollection, ModulesLike
from modtools.retraining import raise_if_shared, rows_also_in
from modtools.studies._cells import Store, check_study_folder, open_store, run_cells
from modtools.studies._efficiency import LabelEfficiency
from modtools.studies._from_scratch import Baseline
from modtools.studies._measure import Plan
from modtools.tasks import Task

if TYPE_CHECKING:
    from torch import nn

__all__ = ["label_efficiency"]


@warns_once
def label_efficiency(
    modules: ModulesLike,
    train: Task | ArrayLike,
    test: Task | ArrayLike,
    *,
    n_labels: Sequence[int] | ArrayLike | None = None,
    repeats: int = 10,
    outputs: str | Sequence[str] = "ridge",
    strategies: str | Sequence[str] = "random",
    network: "Callable[[], nn.Module] | None" = None,
    training: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    allow_overlap: bool = False,
    n_jobs: int | None = 1,
    device: str | None = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: bool | str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> LabelEfficiency:
    """Measure how accurate a retrained output module is with few labels, on several modules.

    Each repeat orders the examples of `train`, and every number of labels takes a first part of
    that order; all modules and output modules see the same random subsets and the same test
    examples, so that they are compared in pairs. The ridge output module is evaluated at all label
    counts from one factorisation per repeat (see `learning_curve`): its alpha is one number per
    repeat, chosen by the evidence of the labels up to the largest count; ``logistic`` and
    ``class_mean`` are fitted anew for each count, from its labels only. Columns are standardised
    with all examples of `train`, which needs no labels.

    What is measured is the accuracy of a retrained output module, not of full fine-tuning.

    Parameters
    ----------
    modules : PretrainedModule, Zoo, path of a zoo, list of these, or dict
        What is compared, in any form that `ModuleCollection.of_pairs` accepts. A dict may hold
        modules, or pairs (train_features, test_features).
    train : Task, torch Dataset or array-like of shape (n_samples,)
        The pool whose labels are used; for features that are given, its labels are enough.
    test : Task, torch Dataset or array-like of shape (n_test,)
        Examples that all accuracies are measured on; nothing is learned from them.
    n_labels : sequence of int, optional
        Numbers of labels in all, not per class. By default some thirty, log-spaced from the number
        of classes to 2000 or the whole pool.
    repeats : int, default=10
        Random subsets of labels. A strategy without randomness (k_center, herding, variance) has
        one.
    outputs : {"ridge", "logistic", "class_mean"} or sequence of them, default="ridge"
        Output modules that are retrained.
    strategies : str or sequence of str, default="random"
        How labelled examples are chosen, names as in `choose_labels`. ``typical`` and ``cover``
        plan for a number of labels: beyond the smallest one they plan anew with every doubling,
        without regard to what is labelled; examples labelled before come first.
    network : callable, optional
        Returns a new network. It is trained end to end from scratch with the labels of each
        random subset and label count, as the baseline "from scratch".
    training : mapping, optional
        Arguments of `train_end_to_end` for the baseline. By default as many epochs as make 500
        steps, at least 10. Each repeat and label count is a run of its own: leave out
        `checkpoint` and `seed`.
    folder : path-like, optional
        Where finished cells and extracted features are kept: the same call resumes from there and
        computes nothing again, however it was interrupted.
    allow_overlap : bool, default=False
        Whether test examples may equal examples of `train`, as in free-form data where inputs
        repeat by nature. Otherwise a shared example raises.
    n_jobs : int, optional
        Repeats measured at the same time, through joblib; -1 uses all cores.
    device, precision, batch_size
        As in `extract`; `device` is that of the baseline too.
    cache : bool, str or path, optional
        Where extracted features are kept, as in `extract`; by default in `folder`, if there is one.
    seed : int, default=0
        Seed of the random subsets and of the baseline; the same seed gives the same table.

    Returns
    -------
    LabelEfficiency
        `frame`, `labels_to_reach`, `savings`, `area`, `plot` and more.

    Raises
    ------
    ModtoolsError
        A number of labels above the pool, examples shared by `train` and `test`, features that do
        not vary, how networks run where only features are given, or a folder that holds another
        study. Finished cells are kept.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 60)
    >>> clear, noisy = (labels[:, None] + s * rng.normal(size=(120, 3)) for s in (0.2, 2.0))
    >>> train, test = slice(None, None, 2), slice(1, None, 2)
    >>> modules = {"clear": (clear[train], clear[test]), "noisy": (noisy[train], noisy[test])}
    >>> study = label_efficiency(
    ...     modules, labels[train], labels[test], n_labels=[4, 16], repeats=3
    ... )
    >>> table = study.frame()
    >>> table.loc[table["n_labels"] == 16, ["module", "value"]].round(2).values.tolist()
    [['clear', 1.0], ['noisy', 0.59]]
    """
    started = time.perf_counter()
    train, test = Task.of(train), Task.of(test)
    plan = Plan.of(train, test, n_labels, repeats, seed, outputs=outputs, strategies=strategies)
    check_jobs(n_jobs)
    place = None if folder is None else check_study_folder(at_home(folder, name="folder"))
    kept = cache if cache is not None or place is None else place / "features"
    forward: dict[str, Any] = {"device": device, "precision": precision, "batch_size": batch_size}
    candidates = ModuleCollection.of_pairs(modules)
    own = forward if network is None else {**forward, "device": None}  # the baseline checks it
    candidates.check(train, test, cache=cache, **own)
    baseline = Baseline.checked(network, training, train, test, device=device)
    _check_overlap(candidates, train, test, allow_overlap=allow_overlap)
    facts = {"precision": precision, "baseline": baseline.describe() if baseline else None}
    define = partial(plan.definition, train, test, **facts)
    identities = candidates.identities(precision) if place else dict.fromkeys(candidates.names, "")
    store = open_store(place, define(modules=identities), len(test)) if place else Store(None, "")
    read = partial(candidates.train_and_test, train, test, cache=kept, **forward)
    lines = run_cells(candidates, read, identities, plan, store, baseline=baseline, n_jobs=n_jobs)
    settings = {**plan.settings(), **forward, **facts, "n_jobs": n_jobs}
    return LabelEfficiency(lines, plan, settings=settings, seconds=time.perf_counter() - started)


def _check_overlap(
    candidates: ModuleCollection, train: Task, test: Task, *, allow_overlap: bool
) -> None:
    """Raise if test examples occur in the pool; without inputs, features are compared."""
    if allow_overlap:
        return
    if train.has_inputs and test.has_inputs:
        is_shared = np.isin(test.row_fingerprints, train.row_fingerprints)
    else:
        # Different inputs may share the features of a module, but hardly those of every module.
        pairs = [pair for _, pair in candidates.train_and_test(train, test)]
        is_shared = np.logical_and.reduce([rows_also_in(own[1], own[0]) for own in pairs])
    raise_if_shared(is_shared, tests="test", learned="train")

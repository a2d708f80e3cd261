"""A frozen module with its retrained output module: what a user deploys."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from modtools._checks import rows_per_block
from modtools._escape import markdown_text, terminal_text
from modtools._intervals import MeasuredAccuracy
from modtools._metrics import check_accuracy
from modtools._reading import as_path
from modtools._results import html_of
from modtools.exceptions import ModtoolsError
from modtools.modules import CombinedModule, PretrainedModule, iter_features
from modtools.outputs import ClassMeanOutput
from modtools.retraining._reused_files import read_model, write_model
from modtools.tasks import Kind, Task

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ReusedModel"]

# What is kept of a model beside its module and its output module.
_FACTS: Final = ("classes", "missing_classes", "task_name", "kind", "row_fingerprints", "seconds")

_NOUNS: Final = {
    "classification": ("class", "classes"),
    "multilabel": ("label column", "label columns"),
    "regression": ("target", "targets"),
}


class ReusedModel:
    """A frozen module, the output module fitted on its features, and the names of the classes.

    `retrain` makes it. The module is shared with the caller, not copied, and is never changed.

    Parameters
    ----------
    module : PretrainedModule or CombinedModule
        The frozen module, read at one layer, or several as one.
    output : classifier or regressor
        Fitted on the features of the module.
    classes : ndarray of shape (n_classes,)
        All classes of the task, sorted; the numbers of its label columns (multilabel) or targets
        (regression).
    missing_classes : sequence, default=()
        Those of them without a labelled example; they are never predicted.
    task_name : str, default="task"
        What the output module was trained on.
    kind : {"classification", "multilabel", "regression"}, default="classification"
        Kind of that task.
    row_fingerprints : sequence of str, default=()
        Fingerprints of the training examples, which `accuracy` compares with the test examples.
    seconds : float, default=0.0
        Time that retraining took, extraction of features included.

    Attributes
    ----------
    module, output, classes, task_name, kind, row_fingerprints, seconds
        As given.
    missing_classes : ndarray of shape (n_missing,)
        As given.
    labelled_classes : ndarray of shape (n_labelled_classes,)
        The other classes, which can be predicted.
    n_unassigned_clusters : int
        Number of clusters of the unlabelled inputs without a labelled example; 0 without such
        inputs.
    n_labels : int
        Number of labelled examples that the output module was trained on.

    Examples
    --------
    >>> from modtools.modules import pixels
    >>> from modtools.retraining import retrain
    >>> from modtools.tasks import load_task
    >>> train, test = load_task("digits").few_labels(per_class=4).split(test_fraction=0.5)
    >>> retrain(pixels(), train, output="ridge")
    ReusedModel(pixels + RidgeOutput: 20 labels of digits, 10 classes)
    """

    def __init__(
        self,
        module: PretrainedModule | CombinedModule,
        output: Any,
        *,
        classes: NDArray[Any],
        missing_classes: Sequence[Any] | NDArray[Any] = (),
        task_name: str = "task",
        kind: Kind = "classification",
        row_fingerprints: Sequence[str] | NDArray[np.str_] = (),
        seconds: float = 0.0,
    ) -> None:
        self.module = module
        self.output = output
        self.classes = np.asarray(classes)
        is_missing = np.isin(self.classes, missing_classes)
        self.missing_classes, self.labelled_classes = (
            self.classes[is_missing],
            self.classes[~is_missing],
        )
        self.task_name = task_name
        self.kind = kind
        self.row_fingerprints = np.asarray(row_fingerprints, dtype="U64")
        self.n_labels = len(self.row_fingerprints)
        self.n_unassigned_clusters = 0
        if isinstance(output, ClassMeanOutput):
            self.n_unassigned_clusters = len(output.unassigned_means_)
        self.seconds = seconds

    def __repr__(self) -> str:
        return (
            f"ReusedModel({self.module.names[0]} + {type(self.output).__name__}: "
            f"{self.n_labels} labels of {terminal_text(self.task_name)}, "
            f"{terminal_text(self.describe_classes())})"
        )

    def _repr_html_(self) -> str:
        return html_of(repr(self))

    def describe_classes(self) -> str:
        """Return as text how many classes, label columns or targets there are and can be predicted.

        Returns
        -------
        str
            For example "5 of 10 classes, 5 unassigned clusters".
        """
        n_classes = len(self.classes)
        count = (
            f"{len(self.labelled_classes)} of {n_classes}"
            if len(self.missing_classes)
            else f"{n_classes}"
        )
        text = f"{count} {_NOUNS[self.kind][n_classes != 1]}"
        if self.n_unassigned_clusters:
            text += f", {self.n_unassigned_clusters} unassigned clusters"
        return text

    def predict(self, inputs: Any, *, device: "str | torch.device | None" = None) -> NDArray[Any]:
        """Return the predicted class, labels or numbers of each input.

        Parameters
        ----------
        inputs : Task, array, tensor or list of str
            What the module reads; the labels of a task are not read.
        device : str or torch.device, optional
            Where to run; the network is moved there and back.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            Label values, as the labels of the training task.
        """
        return self._through(self.output.predict, inputs, device)

    def predict_proba(
        self, inputs: Any, *, device: "str | torch.device | None" = None
    ) -> NDArray[np.float64]:
        """Return the probability of each class that can be predicted.

        Parameters
        ----------
        inputs : Task, array, tensor or list of str
            What the module reads; the labels of a task are not read.
        device : str or torch.device, optional
            Where to run; the network is moved there and back.

        Returns
        -------
        ndarray of shape (n_samples, n_labelled_classes)
            Probabilities in the order of `labelled_classes`; rows sum to 1.

        Raises
        ------
        ModtoolsError
            The output module gives no probabilities.
        """
        decide = self._method("predict_proba", 'gives no probabilities; use output="logistic".')
        return self._through(decide, inputs, device)

    def decision_function(
        self, inputs: Any, *, device: "str | torch.device | None" = None
    ) -> NDArray[np.float64]:
        """Return decision values (logits) in scikit-learn's shape; the largest or the sign decides.

        Parameters
        ----------
        inputs : Task, array, tensor or list of str
            What the module reads; the labels of a task are not read.
        device : str or torch.device, optional
            Where to run; the network is moved there and back.

        Returns
        -------
        ndarray of shape (n_samples, n_labelled_classes) or (n_samples,)
            Decision values in the order of `labelled_classes`; for two classes the second minus
            the first. For several labels per example the estimated probability minus one half:
            positive where the label is predicted.

        Raises
        ------
        ModtoolsError
            The output module has none.
        """
        otherwise = "has no decision_function; use an output module of modtools.outputs."
        return self._through(self._method("decision_function", otherwise), inputs, device)

    def unassigned_clusters(
        self, inputs: Any, *, device: "str | torch.device | None" = None
    ) -> NDArray[np.intp]:
        """Return which cluster without a labelled example each input lies in, if any.

        With fewer labels than classes and unlabelled inputs (`retrain` with ``unlabelled=`` and
        ``allow_missing_classes=True``), some clusters of these inputs have no labelled example yet.
        One label in each would assign it to a class.

        Parameters
        ----------
        inputs : Task, array, tensor or list of str
            What the module reads; the labels of a task are not read.
        device : str or torch.device, optional
            Where to run; the network is moved there and back.

        Returns
        -------
        ndarray of shape (n_samples,)
            Numbers from 0 to `n_unassigned_clusters` - 1; -1 for an input nearest to a class.

        Raises
        ------
        ModtoolsError
            The output module has no clusters.
        """
        otherwise = (
            'has no clusters; retrain with output="class_mean" and unlabelled=, inputs without '
            "labels."
        )
        return self._through(self._method("unassigned_clusters", otherwise), inputs, device)

    def accuracy(
        self,
        task: Task,
        *,
        allow_overlap: bool = False,
        only_labelled_classes: bool = False,
        device: "str | torch.device | None" = None,
    ) -> float:
        """Return the share of examples whose class is predicted; chance is one over the classes.

        With several labels per example, the share of single labels that are right: one minus the
        Hamming loss.

        Parameters
        ----------
        task : Task
            Examples with labels among the classes of the training task.
        allow_overlap : bool, default=False
            Whether test examples may equal training examples, as in free-form data where inputs
            repeat by nature. Otherwise a shared one raises: accuracy on training examples says
            little.
        only_labelled_classes : bool, default=False
            Whether examples of missing classes (or missing label columns), which cannot be
            predicted, are left out.
        device : str or torch.device, optional
            Where to run; the network is moved there and back.

        Returns
        -------
        float
            Accuracy in [0, 1].
        """
        if self.kind == "regression":
            raise ModtoolsError(f"accuracy counts classes; {self.task_name} has numbers. Use r2.")
        task = self._check_test_task(task, allow_overlap=allow_overlap, measure="accuracy")
        if only_labelled_classes and self.kind == "classification":
            task = task.subset(np.isin(task.labels, self.labelled_classes))
        is_right = self.predict(task, device=device) == task.labels
        if only_labelled_classes and self.kind == "multilabel":
            is_right = is_right[:, np.isin(self.classes, self.labelled_classes)]
        return float(np.mean(is_right))

    def evaluate(
        self,
        task: Task,
        *,
        metric: str = "accuracy",
        allow_overlap: bool = False,
        only_labelled_classes: bool = False,
        device: "str | torch.device | None" = None,
    ) -> MeasuredAccuracy:
        """Return the accuracy with its 95 % Wilson interval: the examples as a sample.

        The interval does not hold what other labelled examples would change.

        Parameters
        ----------
        task
            As in `accuracy`.
        metric : str, default="accuracy"
            What is measured; accuracy is the only one for now.
        allow_overlap, only_labelled_classes, device
            As in `accuracy`.

        Returns
        -------
        MeasuredAccuracy
            (value, low, high), each in [0, 1]; low and high are None for several labels per
            example, which are not independent of each other.
        """
        check_accuracy(metric, kind=self.kind, where="evaluate")
        options: dict[str, Any] = {"allow_overlap": allow_overlap, "device": device}
        value = self.accuracy(task, only_labelled_classes=only_labelled_classes, **options)
        if self.kind == "multilabel":
            return MeasuredAccuracy(value)
        counted = (
            np.isin(task.labels, self.labelled_classes)
            if only_labelled_classes
            else np.ones(len(task))
        )
        return MeasuredAccuracy.of(value, int(np.count_nonzero(counted)))

    def r2(
        self,
        task: Task,
        *,
        allow_overlap: bool = False,
        device: "str | torch.device | None" = None,
    ) -> float:
        """Return the share of the variance of the targets that is predicted, their mean over them.

        Parameters
        ----------
        task : Task
            Examples with as many targets as the training task.
        allow_overlap : bool, default=False
            Whether test examples may equal training examples.
        device : str or torch.device, optional
            Where to run; the network is moved there and back.

        Returns
        -------
        float
            Coefficient of determination, at most 1; 0 for predicting the mean of the test labels.

        Raises
        ------
        ModtoolsError
            Fewer than two examples, another kind of task, or training examples among them.
        """
        if self.kind != "regression":
            raise ModtoolsError(f"r2 measures numbers; {self.task_name} has classes. Use accuracy.")
        task = self._check_test_task(task, allow_overlap=allow_overlap, measure="r2")
        if len(task) < 2:
            raise ModtoolsError(
                "r2 compares with the spread of the labels: give two examples or more."
            )
        return float(r2_score(task.labels, self.predict(task, device=device)))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the model to a folder of its own, atomically; nothing is pickled.

        The folder is a zoo of the one module, with the output module beside it as safetensors and a
        card in JSON.

        Parameters
        ----------
        path : str or path
            The folder to make.
        overwrite : bool, default=False
            Whether a model saved there before is replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ModtoolsError
            The module lacks what a zoo needs to rebuild it (``build=``), or the output module is
            not one of modtools.
        """
        facts = {name: getattr(self, name) for name in _FACTS}
        return write_model(
            as_path(path),
            self.module,
            self.output,
            facts,
            name=repr(self),
            readme=self._readme(),
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, allow: Iterable[str] = ()) -> Self:
        """Return a saved model; its files are checked against the card, and nothing is unpickled.

        Parameters
        ----------
        path : str or path
            The folder that `save` made.
        allow : sequence of str, default=()
            Further packages whose networks may be built, as in `Zoo`.

        Returns
        -------
        ReusedModel
            A copy: its arrays have the values, types and order in memory of those that were saved,
            so that it predicts the same to the last bit.
        """
        return cls(**read_model(as_path(path), allow))

    def to_torch(self, *, preprocess: bool = True) -> "nn.Module":
        """Return one network that gives the same logits, to export or to fine-tune elsewhere.

        Its weights are copies: whatever happens to it, this model stays as it is.

        Parameters
        ----------
        preprocess : bool, default=True
            Whether it takes what this model takes; otherwise what the frozen network itself reads
            (for several networks a sequence, one entry each), so that it consists of tensor
            operations only.

        Returns
        -------
        torch.nn.Module
            In eval mode; called with a batch, it returns logits
            (n_samples, n_labelled_classes) in the order of `labelled_classes`, of two classes also
            one each.
        """
        from modtools.retraining._torch_model import torch_network

        return torch_network(self.module, self.output, preprocess=preprocess)

    def _check_test_task(self, task: Any, *, allow_overlap: bool, measure: str) -> Task:
        """Return the task if this model can be measured on it, else raise."""
        if not isinstance(task, Task) or task.kind != self.kind:
            got = repr(task) if isinstance(task, Task) else f"{type(task).__name__}, not a Task"
            raise ModtoolsError(f"{measure} needs a {self.kind} task; got {got}.")
        if self.kind == "classification":
            strange = np.flatnonzero(~np.isin(task.labels, self.classes))
            if strange.size:
                raise ModtoolsError(
                    f"labels of {task.name} must be among the {len(self.classes)} classes of "
                    f"{self.task_name}; got {task.labels[strange[0]].item()!r} in row {strange[0]} "
                    f"({strange.size} such)."
                )
        elif len(task.classes) != len(self.classes):
            raise ModtoolsError(
                f"{task.name} must have the {len(self.classes)} label columns of "
                f"{self.task_name}; got {len(task.classes)}."
            )
        if not allow_overlap and self.n_labels:
            shared = np.flatnonzero(np.isin(task.row_fingerprints, self.row_fingerprints))
            if shared.size:
                raise ModtoolsError(
                    f"{shared.size} of {len(task)} examples of {task.name} equal training examples,"
                    f" first row {shared[0]}. Take them out, for example with complement, or use "
                    "allow_overlap=True if inputs repeat by nature."
                )
        return task

    def _readme(self) -> str:
        name, task, classes = map(
            markdown_text, (self.module.names[0], self.task_name, self.describe_classes())
        )
        return (
            f"---\nlibrary_name: modtools\n---\n# {name} reused for {task}\n\n"
            f"A frozen module with a {type(self.output).__name__} trained on "
            f"{self.n_labels} labels of {classes}.\n\n"
            "Load it with `modtools.ReusedModel.load(folder)`.\n"
        )

    def _method(self, name: str, otherwise: str) -> Callable[[Any], Any]:
        """Return a method of the output module; some have it by their settings only."""
        try:
            found: Callable[[Any], Any] = getattr(self.output, name)
        except AttributeError as error:
            raise ModtoolsError(f"{type(self.output).__name__} {otherwise}") from error
        return found

    def _through(
        self, decide: Callable[[Any], Any], inputs: Any, device: "str | torch.device | None"
    ) -> NDArray[Any]:
        """Stream inputs through the module, and features block by block through the output."""
        blocks = iter_features(self.module, inputs, device=device)
        return np.concatenate([np.asarray(decide(self._fitting(b))) for b in _gather(blocks)])

    def _fitting(self, features: NDArray[Any]) -> NDArray[Any]:
        """Return features of as many columns as the output module was trained on, or raise."""
        n_columns = getattr(self.output, "n_features_in_", features.shape[1])
        if features.shape[1] != n_columns:
            raise ModtoolsError(
                f'inputs must give "{self.module.names[0]}" the {n_columns} features that the '
                f"output module was trained on; they give {features.shape[1]}."
            )
        return features


def _gather(blocks: Iterator[Any]) -> Iterator[NDArray[Any]]:
    """Join small batches to blocks of about 8 MB: the output module costs little per example."""
    held: list[NDArray[Any]] = []
    for block in blocks:
        held.append(block)
        if len(held) * len(block) >= rows_per_block(block.shape[1]):
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)

"""How a learner is trained: batches, learning rate, weight decay, augmentation."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Final, Literal

from torch import Tensor
from torch.optim import AdamW

from modtools._checks import check_choice, check_integer, check_positive
from modtools.exceptions import ModtoolsError
from modtools.training._augmentation import Augmentation

__all__ = ["Recipe"]

_START: Final = 1 / 25  # of the peak, as in torch's OneCycleLR: the first step is not wasted


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that every learner of a training run shares.

    The optimiser is AdamW. The learning rate follows the share of the epochs, or of the time, that
    has passed, so that runs of any length end at rate zero.

    Parameters
    ----------
    batch_size : int, default=128
        Rows of a step.
    learning_rate : float, default=3e-3
        The peak of the curve.
    weight_decay : float, default=0.05
        Decoupled decay of matrices and kernels; biases and norms are left alone.
    betas : tuple of float, default=(0.9, 0.98)
        Memory of AdamW for the gradient and for its square.
    curve : {"onecycle", "constant"}, default="onecycle"
        Linear warm-up from a 25th of the peak and half a cosine down to zero, or the peak
        throughout.
    warmup : float, default=0.2
        Share of the run that the warm-up of ``"onecycle"`` takes.
    augmentation : Augmentation, optional
        What happens to each batch of images; by default nothing.

    Examples
    --------
    >>> recipe = Recipe(learning_rate=0.01, augmentation=Augmentation(shift=1))
    >>> [round(recipe.learning_rate_at(progress), 4) for progress in (0, 0.2, 0.6, 1)]
    [0.0004, 0.01, 0.005, 0.0]
    """

    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    curve: Literal["onecycle", "constant"] = "onecycle"
    warmup: float = 0.2
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        check_choice(self.curve, ["onecycle", "constant"], name="curve")
        if not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            raise ModtoolsError(f"betas must be two numbers; got {self.betas!r}.")
        if not isinstance(self.augmentation, Augmentation | None):
            raise ModtoolsError(
                f"augmentation must be an Augmentation or None; got {self.augmentation!r}."
            )
        plain = {  # numpy numbers become Python's, so that the settings are JSON
            "batch_size": check_integer(self.batch_size, name="batch_size"),
            "learning_rate": check_positive(self.learning_rate, name="learning_rate"),
            "weight_decay": _at_least_zero(self.weight_decay, name="weight_decay"),
            "betas": tuple(_at_least_zero(beta, name="betas", below=1) for beta in self.betas),
            "warmup": _at_least_zero(self.warmup, name="warmup", below=1),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate after a share of the run.

        Parameters
        ----------
        progress : float
            Share of the run that has passed; what lies outside [0, 1] counts as its nearer end.

        Returns
        -------
        float
            The learning rate, 0 at the end of a one-cycle curve.
        """
        if self.curve == "constant":
            return self.learning_rate
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return self.learning_rate * (_START + (1 - _START) * progress / self.warmup)
        angle = math.pi * (progress - self.warmup) / (1 - self.warmup)
        return self.learning_rate * (1 + math.cos(angle)) / 2

    def optimizer(self, parameters: Iterable[Tensor]) -> AdamW:
        """Return AdamW for the parameters of one learner, at the peak of the learning rate.

        Parameters
        ----------
        parameters : iterable of Tensor
            What is trained; only tensors of more than one axis are decayed.

        Returns
        -------
        AdamW
            One group with weight decay, then one without; a group that would be empty is left out.
        """
        weights: list[Tensor] = []
        others: list[Tensor] = []
        for parameter in parameters:
            (weights if parameter.ndim > 1 else others).append(parameter)
        if not weights + others:
            raise ModtoolsError("there is nothing to train: the module has no parameters.")
        groups = [
            {"params": weights, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        filled = [group for group in groups if group["params"]]
        return AdamW(filled, lr=self.learning_rate, betas=self.betas)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON: what is written and read back is equal to it.

        Returns
        -------
        dict
            Settings by name; the augmentation as a dict of its own, or None.
        """
        return {**asdict(self), "betas": list(self.betas)}


def _at_least_zero(value: Any, *, name: str, below: float = math.inf) -> float:
    """Return a number of [0, below) as a float."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < below:
        raise ModtoolsError(f"{name} must lie in [0, {below:g}); got {value!r}.")
    return float(value)

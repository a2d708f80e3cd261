"""Float32, or bfloat16 autocast where it is faster on this machine."""

import time
from collections.abc import Callable
from typing import Final

import torch

from modtools._checks import check_choice

__all__ = ["autocast", "check_precision", "measured_precision"]

_CHOICES: Final = ("float32", "bfloat16", "auto")
_ROUNDS: Final = 4
_LONG_ENOUGH: Final = 3.0  # seconds; steps this slow are told apart by one of each
_WORTHWHILE: Final = 0.9  # bfloat16 costs digits, so it must save a tenth of the time


def check_precision(precision: str) -> str:
    """Return a known precision; ``"auto"`` stands for the one that `measured_precision` finds.

    >>> check_precision("float16")
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: unknown precision "float16"; did you mean...
    """
    return check_choice(precision, _CHOICES, name="precision")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context for a forward pass; parameters and optimiser states stay float32.

    In float32 it switches off an autocast that surrounds it, so that numbers can be compared.

    >>> with autocast(torch.device("cpu"), "bfloat16"):
    ...     torch.nn.Linear(2, 3)(torch.ones(1, 2)).dtype
    torch.bfloat16
    """
    bfloat16 = precision == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16)


def measured_precision(step: Callable[[str], None]) -> str:
    """Return the precision in which a step is faster; float32 unless bfloat16 saves a tenth.

    Each is timed a few times in turn and judged by its best, so that neither the first call, which
    also prepares, nor a busy moment decides.

    Parameters
    ----------
    step : callable
        Called with ``"float32"`` or ``"bfloat16"``: one forward and backward pass that leaves no
        trace in what is trained.

    Returns
    -------
    {"float32", "bfloat16"}
        The precision to train in.

    Examples
    --------
    >>> measured_precision(lambda precision: time.sleep(0.02 if precision == "float32" else 0))
    'bfloat16'
    """
    best = {"float32": float("inf"), "bfloat16": float("inf")}
    begin = time.perf_counter()
    for _ in range(_ROUNDS):
        for precision, least in best.items():
            best[precision] = min(least, _seconds(step, precision))
        if time.perf_counter() - begin > _LONG_ENOUGH:
            break
    return "bfloat16" if best["bfloat16"] < _WORTHWHILE * best["float32"] else "float32"


def _seconds(step: Callable[[str], None], precision: str) -> float:
    """Return how long one step takes, on a GPU until its work is done."""
    begin = time.perf_counter()
    step(precision)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return time.perf_counter() - begin

"""Stop and resume a run: checkpoints, and signals that wait for the end of a step."""

import io
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import torch

from modtools._escape import one_line
from modtools._places import check_file, target_of, unwritable, write_content
from modtools._reading import at_home, check_is_file, kind_of
from modtools._stopping import Stop, interruptible, running_stop
from modtools.exceptions import ModtoolsError

__all__ = [
    "Interrupt",
    "check_checkpoint_place",
    "check_state",
    "only_if_it_fits",
    "read_checkpoint",
    "remove_checkpoint",
    "write_checkpoint",
]

_PARTS: Final = {
    "phase": int,
    "network": Mapping,
    "history": list,
    "peak_bytes": int,
    "precision": str,
    "seconds": float,
}


def write_checkpoint(path: Path, settings: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint at `path` atomically; on failure the old one stays."""
    content = io.BytesIO()
    torch.save({"settings": dict(settings), "state": dict(state)}, content)
    try:
        write_content(path, content.getvalue())
    except OSError as error:
        raise ModtoolsError(
            f"the checkpoint {path} could not be written: {error.strerror or error}. An earlier "
            "one, if any, is intact; free some space and use the same settings to resume from it."
        ) from error


def read_checkpoint(
    path: Path, settings: Mapping[str, Any], device: torch.device
) -> dict[str, Any] | None:
    """Return the state of a run with these settings, or None if there is no checkpoint.

    Raises
    ------
    ModtoolsError
        The file is no checkpoint, or belongs to a run with other settings, which are named.
    """
    if not kind_of(path):
        return None
    try:
        check_is_file(path)
        content = torch.load(path, map_location=device, weights_only=True)
        kept, state = content["settings"], dict(content["state"])
    except Exception as error:
        cause = str(error).rstrip(".") if isinstance(error, ModtoolsError) else type(error).__name__
        raise ModtoolsError(
            f"{path} is not a complete checkpoint of a training run ({cause}). Give another file, "
            "or remove this one."
        ) from error
    differences = _differences(kept, settings)
    if differences:
        raise ModtoolsError(
            f"the checkpoint {path} belongs to a run with other settings: "
            f"{'; '.join(differences)}. Give the same settings, or another checkpoint file."
        )
    return state


def check_state(path: Path, state: Mapping[str, Any]) -> None:
    """Raise if a part is missing or of another type; the run checks their content."""
    wrong = [name for name, kind in _PARTS.items() if not isinstance(state.get(name, ...), kind)]
    if not wrong and state["phase"] < 0:
        wrong = ["phase"]
    if wrong:
        raise ModtoolsError(
            f"{path} is not a complete checkpoint of a training run: it lacks or mistypes "
            f"{', '.join(wrong)}. Give another file, or remove this one."
        )


@contextmanager
def only_if_it_fits() -> Iterator[None]:
    """Turn errors of a state that belongs to another run into one message."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModtoolsError(
            f"the checkpoint does not fit this run: {one_line(error)}. Give another checkpoint "
            "file, or remove this one."
        ) from error


def check_checkpoint_place(path: str | os.PathLike[str]) -> Path:
    """Return the path if a checkpoint can be written there and read again, else raise."""
    place = at_home(path, name="checkpoint")
    if os.path.exists(place) and not place.is_file():
        raise ModtoolsError(
            f"{place} is not a complete checkpoint of a training run (it is not a file). Give "
            "another file, or none."
        )
    return check_file(place, what="the checkpoint ")


def remove_checkpoint(path: str | os.PathLike[str]) -> None:
    """Remove the checkpoint of a finished run; a link to it stays."""
    try:
        target_of(path).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error, what="the checkpoint ") from error


def _differences(kept: Any, given: Any, name: str = "") -> list[str]:
    """Return the differences of two nested settings, as texts."""
    if isinstance(kept, Mapping) and isinstance(given, Mapping):
        names = sorted({*kept, *given})
        parts = [_differences(kept.get(n), given.get(n), f"{name}.{n}".lstrip(".")) for n in names]
        return [line for part in parts for line in part]
    is_same = not isinstance(kept, torch.Tensor) and kept == given  # settings hold no tensors
    return [] if is_same else [f"{name} is {kept!r} there and {given!r} here"]


class Interrupt:
    """Context in which the first Ctrl-C stops after the current step, the second one at once.

    Within the command ``modtools`` other termination signals do the same. Nothing changes outside
    the main thread, where signals cannot be caught, nor where Ctrl-C is ignored.

    Parameters
    ----------
    advice : str
        How to resume: the message of the `KeyboardInterrupt`.
    """

    def __init__(self, advice: str) -> None:
        self._advice = advice
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = interruptible()
        for number in self._before:
            signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if kind is None:
            self.raise_if_asked()  # a stop after the last step

    def _ask(self, number: int, frame: FrameType | None) -> None:
        stop = self._before[number]
        if isinstance(stop, Stop):
            stop.note(number)
            if stop.is_ending:
                stop(number, frame)
        if self.asked:
            self._raise()
        self.asked = True

    def raise_if_asked(self) -> None:
        """Stop here if Ctrl-C was pressed."""
        if self.asked:
            self._raise()

    def _raise(self) -> None:
        if (stop := running_stop()) is not None:
            stop.begin_to_end()
        raise KeyboardInterrupt(self._advice)

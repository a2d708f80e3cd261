"""Ctrl-C that waits for the end of a step."""

import signal
from types import FrameType
from typing import Any, Self

from modtools._stopping import Stop, interruptible, running_stop

__all__ = ["Interrupt"]


class Interrupt:
    """While this block runs, the first Ctrl-C asks for a stop, the second one stops at once.

    Within the command ``modtools`` other signals that ask it to end do the same. Outside the main
    thread, where signals cannot be caught, nothing changes, nor where Ctrl-C is ignored.

    Parameters
    ----------
    advice : str
        How to go on later: the text of the `KeyboardInterrupt`.
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
            self.raise_if_asked()  # a stop in the last moment

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
        """Stop here if a stop was asked for."""
        if self.asked:
            self._raise()

    def _raise(self) -> None:
        if (stop := running_stop()) is not None:
            stop.begin_to_end()
        raise KeyboardInterrupt(self._advice)

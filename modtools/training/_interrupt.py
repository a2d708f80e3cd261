"""Ctrl-C that waits for the end of a step."""

import signal
import threading
from types import FrameType
from typing import Any, Self

__all__ = ["Interrupt"]


class Interrupt:
    """While this block runs, the first Ctrl-C asks for a stop, the second one stops at once.

    Outside the main thread, where signals cannot be caught, nothing changes.

    Parameters
    ----------
    advice : str
        How to go on later: the text of the `KeyboardInterrupt`.
    """

    def __init__(self, advice: str) -> None:
        self._advice = advice
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt(self._advice)
        self.asked = True

    def raise_if_asked(self) -> None:
        """Stop here if a stop was asked for."""
        if self.asked:
            raise KeyboardInterrupt(self._advice)

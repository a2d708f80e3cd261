"""Worker processes that end with the one that started them, and leave Ctrl-C to it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

__all__ = ["in_worker", "leaving_ctrl_c_to_the_parent"]

Result = TypeVar("Result")
_LOOK_SECONDS: Final = 0.5
_watched: list[int] = []


def in_worker(parent: int, work: Callable[..., Result], *arguments: object) -> Result:
    """Do some work, in a process that ends soon after its parent does, even if that is killed.

    Parameters
    ----------
    parent : int
        Number of the process that asks for it. Where that is this one, or one that did not start
        this one, as on a cluster, nothing is watched.
    work : callable
        What is done.
    *arguments
        Its arguments.

    Examples
    --------
    >>> in_worker(os.getpid(), max, 1, 2)
    2
    """
    if os.getppid() == parent and not _watched:
        _watched.append(parent)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return work(*arguments)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


@contextmanager
def leaving_ctrl_c_to_the_parent() -> Iterator[None]:
    """Start processes in this block that do not see the Ctrl-C of their terminal.

    The parent sees it and ends them; they would each print a traceback. Processes inherit what is
    blocked, from their first instruction on.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Worker processes that end with the one that started them, and leave Ctrl-C to it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Final, TypeVar

from modtools.exceptions import ModtoolsError

__all__ = ["check_jobs", "in_worker", "starting_workers"]

Result = TypeVar("Result")
_LOOK_SECONDS: Final = 0.5
_LEFT_TO_PARENT: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)
)
_TRACKER: Final = "joblib.externals.loky.backend.resource_tracker"
_watched: list[int] = []


def check_jobs(n_jobs: int | None) -> None:
    """Raise unless `n_jobs` is what joblib takes for a number of processes.

    >>> check_jobs(None), check_jobs(-1)
    (None, None)
    """
    if n_jobs is not None and (n_jobs == 0 or not isinstance(n_jobs, Integral)):
        raise ModtoolsError(f"n_jobs must be a whole number other than 0, or None; got {n_jobs!r}.")


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
def starting_workers(n_jobs: int | None) -> Iterator[None]:
    """Start processes in this block that do not see what the terminal sends to all of a command.

    The parent sees it and ends them; they would each print a traceback. Processes inherit what is
    blocked, from their first instruction on.
    """
    if n_jobs in (None, 1) or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
    try:
        _start_trackers()
        # Again, because the start of a tracker ends the block of Ctrl-C.
        signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_trackers() -> None:
    """Start the processes that clean up behind joblib, which otherwise start with its workers.

    They say on stderr what they clean up behind a process that was killed; that is their work, and
    no news.
    """
    from multiprocessing import resource_tracker

    from joblib.externals.loky.backend import resource_tracker as joblib_tracker

    before = os.environ.get("PYTHONWARNINGS")
    quiet = f"ignore::UserWarning:{_TRACKER}"
    os.environ["PYTHONWARNINGS"] = quiet if before is None else f"{before},{quiet}"
    try:
        resource_tracker.ensure_running()
        joblib_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before

"""Worker processes that end with their parent process, and leave Ctrl-C to it."""

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
    """Raise unless `n_jobs` is a number of processes as joblib defines it.

    >>> check_jobs(None), check_jobs(-1)
    (None, None)
    """
    if n_jobs is not None and (n_jobs == 0 or not isinstance(n_jobs, Integral)):
        raise ModtoolsError(
            f"n_jobs must be a whole number other than 0; -1 uses all cores; got {n_jobs!r}."
        )


def in_worker(parent: int, work: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a worker process that ends soon after its parent, even a killed one.

    Parameters
    ----------
    parent : int
        Process id of the caller. The process is not watched if it is this process, or did not start
        this one, as on a cluster.
    work : callable
        The function.
    *arguments
        Its arguments.

    Returns
    -------
    object
        What `work` returned.

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
    """Block the terminal's signals in processes that are started inside the block.

    The parent receives the signals and ends its workers; otherwise each of them would print a
    traceback. Processes inherit the blocked signals from their first instruction on.
    """
    if n_jobs in (None, 1) or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
    try:
        _start_trackers()
        # Again, because starting a tracker unblocks SIGINT.
        signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_trackers() -> None:
    """Start joblib's resource trackers, which otherwise start together with its workers.

    Their warnings about resources of killed processes are silenced: cleaning up is their purpose.
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

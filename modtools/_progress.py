"""Progress bars on stderr, with one switch for all."""

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from modtools._escape import terminal_text

__all__ = ["meter", "quiet", "track"]

Item = TypeVar("Item")
# A counter, because blocks of several threads end in any order.
_n_quiet = 0
_lock = threading.Lock()


def _is_shown(total: int | None) -> bool:
    wanted = _n_quiet == 0 and os.environ.get("MODTOOLS_PROGRESS", "1") != "0"
    return wanted and total != 1 and sys.stderr.isatty()


@contextmanager
def quiet() -> Iterator[None]:
    """Show no progress bars, from any thread, while this block runs.

    Examples
    --------
    >>> with quiet():
    ...     sum(track(range(3), "adding"))
    3
    """
    global _n_quiet
    with _lock:
        _n_quiet += 1
    try:
        yield
    finally:
        with _lock:
            _n_quiet -= 1


def track(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """Yield `items` while a bar on stderr shows the progress and the remaining time.

    The bar appears only in a terminal; `quiet()` and ``MODTOOLS_PROGRESS=0`` switch it off.

    Parameters
    ----------
    items : iterable
        Items to work on.
    description : str
        Text before the bar.
    total : int, optional
        Number of items, if `items` has no length.

    Yields
    ------
    item
        Each of `items`, in order.

    Examples
    --------
    >>> list(track([1, 2], "counting"))
    [1, 2]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not _is_shown(total):
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        shown = terminal_text(description)
        yield from progress.track(items, total=total, description=shown)


@contextmanager
def meter(description: str) -> Iterator[Callable[[float, str], None]]:
    """Show a progress bar for work measured as a fraction, for example of a time limit.

    It appears and is switched off as in `track`.

    Parameters
    ----------
    description : str
        What is being done, shown before the bar.

    Yields
    ------
    callable
        Takes the share done, 0 to 1, and a note to show after the bar.

    Examples
    --------
    >>> with meter("training") as show:
    ...     show(0.5, "loss 0.1")
    """
    if not _is_shown(None):
        yield lambda _share, _note: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(terminal_text(description), total=1.0, note="")
        yield lambda share, note: progress.update(task, completed=share, note=terminal_text(note))

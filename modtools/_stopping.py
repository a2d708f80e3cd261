"""How a command ends on Ctrl-C, SIGTERM or SIGHUP: with a one-line message, without orphans."""

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn

__all__ = ["STOPPED", "Stop", "interruptible", "running_stop"]

STOPPED: Final = "stopped; a file that was being written is left as it was."
_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")
_SIGNALS: Final = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_PATIENCE_SECONDS: Final = 10.0
_SHOW_CURSOR: Final = b"\x1b[?25h"  # a progress bar hides it
_STDERR: Final = 2
_running: "list[Stop]" = []


class Stop:
    """Handler of the signals that ask a command to end.

    While the command works, the first signal raises `KeyboardInterrupt`, so that open files are
    closed. Before that (during imports) and afterwards, a signal ends the process at once. So do a
    second signal, and a timeout if the interrupt has no effect.

    Only the command line installs it. Ignored signals stay ignored, as under nohup.

    Attributes
    ----------
    code : int or None
        Exit code: 128 plus the number of the first signal; None without a signal.
    is_ending : bool
        Whether the interrupt was raised.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.is_ending = False
        self._is_working = False
        self._is_printed = False

    def install(self) -> None:
        """Handle the signals of this process from now on."""
        _running[:] = [self]
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self)
        sys.unraisablehook = self._unraisable
        threading.excepthook = self._in_thread

    def begin(self) -> None:
        """Mark the start of the work: from here on there may be open files to close."""
        self._is_working = True

    def finish(self) -> None:
        """Mark the end of the work: nothing is left to close."""
        self._is_working = False

    def note(self, number: int) -> None:
        """Record the exit code of the first signal."""
        if self.code is None:
            self.code = 128 + number

    def begin_to_end(self) -> None:
        """Record that the interrupt is raised, and start the timeout."""
        self.is_ending = True
        # Not `threading`: the signal may have interrupted code that holds one of its locks.
        _thread.start_new_thread(self._leave_in_time, ())

    def say(self, text: str = STOPPED) -> None:
        """Print the reason on stderr, once."""
        if not self._is_printed:
            with suppress(OSError):  # stderr may be closed
                os.write(_STDERR, f"{text}\n".encode())
            self._is_printed = True

    def end(self) -> NoReturn:
        """End the process after open files were closed.

        The normal exit of Python is avoided: after an interrupt inside `exec` it kills itself with
        SIGINT, and these handlers are gone by then.
        """
        self.say()
        atexit._run_exitfuncs()
        self._leave()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self.note(number)
        if self.is_ending or not self._is_working:
            self._leave()
        self.begin_to_end()
        raise KeyboardInterrupt

    def _leave(self) -> NoReturn:
        """End the process and all its workers at once."""
        self.say()
        if os.isatty(_STDERR):
            with suppress(OSError):
                os.write(_STDERR, _SHOW_CURSOR)
        processes: Any = sys.modules.get("multiprocessing")
        for child in processes.active_children() if processes else ():
            with suppress(OSError):
                os.kill(child.pid, signal.SIGKILL)
        os._exit(self.code or 1)

    def _leave_in_time(self) -> None:
        time.sleep(_PATIENCE_SECONDS)
        self._leave()

    def _unraisable(self, error: Any) -> None:
        """End on an interrupt that Python would print and ignore, as in a finaliser."""
        if self.is_ending and issubclass(error.exc_type, KeyboardInterrupt):
            self._leave()
        if not self.is_ending:
            sys.__unraisablehook__(error)

    def _in_thread(self, error: Any) -> None:
        """Print no errors of helper threads whose workers have been ended."""
        if not self.is_ending:
            threading.__excepthook__(error)


def running_stop() -> Stop | None:
    """Return the signal handler of the running command; None if modtools is used as a library."""
    return _running[0] if _running else None


def interruptible() -> dict[int, Any]:
    """Return the signals that raise an interrupt in this thread, with their handlers.

    These are SIGINT (Ctrl-C), unless it is ignored, and within a command also SIGTERM and SIGHUP.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    return {
        number: handler
        for number, handler in handlers.items()
        if isinstance(handler, Stop)
        or (number == signal.SIGINT and handler not in (None, signal.SIG_IGN))
    }

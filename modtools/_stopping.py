"""How a command ends on Ctrl-C, SIGTERM or SIGHUP: at any moment, in one line, without orphans."""

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
    """What a command does with a signal that asks it to end.

    While it works the first one raises `KeyboardInterrupt`, so that all that is open is closed.
    Before, when only modules are imported, and afterwards it ends the process on the spot, as a
    second one does, and as the clock does where something holds the interrupt back.

    Only the command installs this. Signals that were ignored stay so, as under nohup.

    Attributes
    ----------
    code : int or None
        Exit code: 128 and the number of the first signal, None where none came.
    is_ending : bool
        Whether the interrupt was raised.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.is_ending = False
        self._is_working = False
        self._is_said = False

    def install(self) -> None:
        """Answer the signals of this process from now on."""
        _running[:] = [self]
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self)
        sys.unraisablehook = self._unraisable
        threading.excepthook = self._in_thread

    def begin(self) -> None:
        """From here on there is something to close."""
        self._is_working = True

    def finish(self) -> None:
        """From here on there is nothing left to close."""
        self._is_working = False

    def note(self, number: int) -> None:
        """Remember the first signal."""
        if self.code is None:
            self.code = 128 + number

    def begin_to_end(self) -> None:
        """Note that the interrupt is raised; what hinders it has some seconds."""
        self.is_ending = True
        # Without the locks of threading, one of which the signal may have found taken.
        _thread.start_new_thread(self._leave_in_time, ())

    def say(self, text: str = STOPPED) -> None:
        """Print why it ends, once."""
        if not self._is_said:
            with suppress(OSError):  # nobody may be there to read it
                os.write(_STDERR, f"{text}\n".encode())
            self._is_said = True

    def end(self) -> NoReturn:
        """End when all is closed that was open.

        Not as other programs: Python kills itself by Ctrl-C, with the exit code of that, where the
        interrupt was raised inside of exec, and its last moments are without these handlers.
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
        """End on the spot, and all worker processes with it."""
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

    def _unraisable(self, found: Any) -> None:
        """Keep the interrupt where Python would print and forget it, as in a finaliser."""
        if self.is_ending and issubclass(found.exc_type, KeyboardInterrupt):
            self._leave()
        if not self.is_ending:
            sys.__unraisablehook__(found)

    def _in_thread(self, found: Any) -> None:
        """Say nothing of helper threads that lose their workers when those are ended."""
        if not self.is_ending:
            threading.__excepthook__(found)


def running_stop() -> Stop | None:
    """Return what the command that is running here does with signals, None in a library."""
    return _running[0] if _running else None


def interruptible() -> dict[int, Any]:
    """Return the signals that raise an interrupt in this thread, with their handlers.

    That is Ctrl-C, unless it is ignored, and within the command also what else asks it to end.
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

"""The entry point of ``modtools``; it imports little, to handle signals as early as possible."""

import os
import sys

from modtools._stopping import Stop

__all__ = ["main"]


def main() -> None:
    """Run the command line; this is what ``modtools`` and ``python -m modtools`` call."""
    stop = Stop()
    stop.install()
    try:
        code = _run(stop)
        stop.finish()
    except BaseException:
        stop.finish()
        if stop.code is None:
            raise
        code = stop.code
    if stop.code is not None:
        stop.end()
    sys.exit(code)


def _run(stop: Stop) -> int:
    """Return the exit code of the command."""
    # Read when torch loads, which no command has done yet. Threads that spin while they wait make
    # forward passes nine times slower where other processes share the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Pictures go to files, so no backend that needs a screen is looked for.
    os.environ["MPLBACKEND"] = "agg"
    from modtools.cli._app import app

    stop.begin()
    code = int(app(prog_name="modtools", standalone_mode=False))
    try:
        sys.stdout.flush()
    except OSError as error:
        # What could not be printed would be tried again at the exit, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not code:
            code = 2
            os.write(2, f"error: standard output: {error.strerror}.\n".encode())
    return code

"""The command ``modtools``: its help, its version, and its error messages."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperGroup

from modtools._stopping import STOPPED, running_stop
from modtools.cli._agree import agree
from modtools.cli._choose import choose
from modtools.cli._demo import demo
from modtools.cli._extract import extract
from modtools.cli._output import say
from modtools.cli._retrain import retrain
from modtools.cli._score import score
from modtools.cli._select import select
from modtools.cli._space import space
from modtools.cli._study import study
from modtools.cli._train import train
from modtools.exceptions import ModtoolsError, ModtoolsWarning

__all__ = ["app"]

_BAD_INPUT, _INTERRUPTED = 2, 130
# Files that the drivers of NVIDIA, of WSL and of AMD create where there is a device.
_DRIVERS: Final = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# The base class of all usage errors; typer exports only this subclass of it.
_UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


class _OneLineErrors(TyperGroup):
    """Report bad input in one line with exit code 2, and an interrupt with 130."""

    def main(self, *args: Any, standalone_mode: bool = True, **options: Any) -> Any:
        code = 0
        try:
            with _warnings_in_one_line():
                result = super().main(*args, **{**options, "standalone_mode": False})
            code = result if isinstance(result, int) else 0
        except _UsageError as error:
            code = _say_error(cast("typer.BadParameter", error).format_message())
        except (ModtoolsError, OSError) as error:
            code = _say_error(str(error))
        except (KeyboardInterrupt, typer.Abort):
            code = _INTERRUPTED
        if not standalone_mode:
            return code
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:  # here, because typer drops its message
            _say_stopped(str(stop) or STOPPED)
            raise typer.Exit(_INTERRUPTED) from stop


def _say_stopped(text: str) -> None:
    """Print why the command stopped, once, however many signals come."""
    if (running := running_stop()) is not None:
        running.say(text)
    else:
        say(text, error=True)


def _is_stopping() -> bool:
    """Return whether the command is stopping, so that errors are only a consequence of that."""
    return (running := running_stop()) is not None and running.is_ending


def _say_error(text: str) -> int:
    if text and not _is_stopping():  # a command without arguments has shown its help instead
        say(f"error: {' '.join(text.split())}", error=True)
    return _BAD_INPUT


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print each warning once, as ``warning MT003: ...``."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_place: Any) -> None:
        text = " ".join(str(message).split())
        is_coded = issubclass(category, ModtoolsWarning)
        line = f"warning {text}" if is_coded else f"warning: {text}"
        if line not in shown and not _is_stopping():
            shown.add(line)
            say(line, error=True)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if not is_asked:
        return
    from modtools import __version__

    typer.echo(f"modtools {__version__} (torch {version('torch')}, device: {_device()})")
    raise typer.Exit


def _device() -> str:
    """Return the device that torch finds; torch loads slowly, so only where there may be one."""
    if not any(Path(place).exists() for place in _DRIVERS) and sys.platform == "linux":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return "mps" if torch.backends.mps.is_available() else "cpu"


@app.callback()
def modtools(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the versions of modtools and torch, and the device found.",
        ),
    ] = False,
) -> None:
    """Choose, reuse and train pretrained modules for a new task with few labels.

    A module is a pretrained network (a backbone) read at one layer. An output module is a linear
    head (a linear probe) on its frozen features. What is predicted and measured is the accuracy of
    a retrained output module, not of full fine-tuning.

    First steps:

        modtools demo
        modtools score --help
        modtools retrain --help
        modtools study --help
        modtools space --help
        modtools agree --help
        modtools train --help
        modtools select --help
        modtools choose --help
        modtools extract --help
    """


app.command()(score)
app.command()(retrain)
app.command()(study)
app.command()(space)
app.command()(agree)
app.command()(train)
app.command()(select)
app.command()(choose)
app.command()(extract)
app.command()(demo)

"""One line of text at a terminal, whatever is in the names it holds."""

import typer

from modtools._escape import terminal_text

__all__ = ["say"]


def say(line: str, *, error: bool = False) -> None:
    """Print one line, to stderr where asked to; nothing in it is obeyed by the terminal."""
    typer.echo(terminal_text(line), err=error)

"""Commands: parse, call one public function, print."""

from typing import TYPE_CHECKING, Any

from modtools.cli._main import main

__all__ = ["app", "main"]

if TYPE_CHECKING:
    from modtools.cli._app import app


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'modtools.cli' has no attribute {name!r}")
    from modtools.cli import _app  # only when asked for: main answers signals before it is loaded

    return _app.app

"""Commands: parse, call one public function, print."""

from modtools.cli._app import app, main

__all__ = ["app", "main"]

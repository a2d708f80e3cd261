"""List what a user of the package can name: ``python -m tests.recorded.capabilities``.

Public names with the arguments of functions and classes, methods and attributes of results, and
every option of every command.
"""

import importlib
import inspect
import json
import sys
from typing import Any

import typer

import modtools
from modtools.cli import app

ROOMS = (
    *("modtools", "modtools.modules", "modtools.outputs", "modtools.plotting", "modtools.proxies"),
    *("modtools.retraining", "modtools.selection", "modtools.studies", "modtools.tasks"),
    *("modtools.testing", "modtools.training", "modtools.training.networks"),
    *("modtools.transferability",),
)


def arguments(function: Any) -> list[str]:
    """Return the names of the arguments of a function or class; none where it has no signature."""
    try:
        return [name for name in inspect.signature(function).parameters if name != "self"]
    except (TypeError, ValueError):
        return []


def describe(value: Any) -> Any:
    """Return what can be asked of one public object."""
    if inspect.isclass(value):
        members = {
            name: arguments(getattr(value, name)) if callable(getattr(value, name)) else []
            for name in dir(value)
            if not name.startswith("_")
        }
        return {"arguments": arguments(value), "members": members}
    if callable(value):
        return {"arguments": arguments(value)}
    return {"entries": list(value)} if isinstance(value, dict) else type(value).__name__


def capabilities() -> dict[str, Any]:
    """Return public names by room, and options by command."""
    found: dict[str, Any] = {}
    for name in ROOMS:
        room = importlib.import_module(name)
        public = getattr(room, "__all__", [key for key in vars(room) if not key.startswith("_")])
        found[name] = {key: describe(getattr(room, key)) for key in sorted(public)}
    group = typer.main.get_command(app)
    found["commands"] = {
        name: sorted(option for entry in command.params for option in entry.opts)
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
    found["version"] = modtools.__version__
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(capabilities(), indent=1) + "\n")

"""The state of a run on disk: written whole or not at all, read without unpickling."""

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from modtools._writing import write_file
from modtools.exceptions import ModtoolsError

__all__ = ["read_checkpoint", "remove_checkpoint", "write_checkpoint"]


def write_checkpoint(path: Path, settings: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint at `path`; on failure the one that was there stays."""
    content = io.BytesIO()
    torch.save({"settings": dict(settings), "state": dict(state)}, content)
    try:
        write_file(path, content.getvalue())
    except OSError as error:
        raise ModtoolsError(
            f"the checkpoint {path} could not be written: {error.strerror or error}. An earlier "
            "one, if any, is whole; make room and give the same settings to go on from it."
        ) from error


def read_checkpoint(
    path: Path, settings: Mapping[str, Any], device: torch.device
) -> dict[str, Any] | None:
    """Return the state of a run with these settings, or None where no checkpoint is.

    Raises
    ------
    ModtoolsError
        The file is no checkpoint, or belongs to a run with other settings, which are named; or no
        file can be written there, which is better known now than in the middle of a run.
    """
    if not path.exists():
        _check_place(path)
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        kept, state = content["settings"], content["state"]
    except Exception as error:
        raise ModtoolsError(
            f"{path} is not a whole checkpoint of a training run ({type(error).__name__}). Give "
            "another file, or remove this one."
        ) from error
    differences = _differences(kept, settings)
    if differences:
        raise ModtoolsError(
            f"the checkpoint {path} belongs to a run with other settings: "
            f"{'; '.join(differences)}. Give the same settings, or another checkpoint file."
        )
    return dict(state)


def _check_place(path: Path) -> None:
    """Raise where a checkpoint could not be written."""
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ModtoolsError(
            f"the checkpoint {path} cannot be written: {error.strerror or error}. Give another "
            "file, or none."
        ) from error


def remove_checkpoint(path: str | os.PathLike[str]) -> None:
    """Remove the checkpoint of a run that ended."""
    Path(path).unlink(missing_ok=True)


def _differences(kept: Any, given: Any, name: str = "") -> list[str]:
    """Return what differs between two nested settings, as "name: kept there, given here"."""
    if isinstance(kept, Mapping) and isinstance(given, Mapping):
        names = sorted({*kept, *given})
        parts = [_differences(kept.get(n), given.get(n), f"{name}.{n}".lstrip(".")) for n in names]
        return [line for part in parts for line in part]
    return [] if kept == given else [f"{name} is {kept!r} there and {given!r} here"]

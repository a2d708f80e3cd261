"""A reused model as a folder: its module as in a zoo, its output module as arrays and JSON."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from modtools._checks import check_choice
from modtools._folders import new_folder, read_steadily
from modtools.exceptions import ModtoolsError
from modtools.modules import (
    CARD,
    CombinedModule,
    PretrainedModule,
    Zoo,
    axes_in_memory,
    check_fields,
    check_files,
    file_digest,
    networks_of,
    read_card_file,
    write_card,
)
from modtools.outputs import ClassMeanOutput, LogisticOutput, RidgeOutput, RidgeRegressionOutput
from modtools.tasks import Kind

__all__ = ["read_model", "write_model"]

_FORMAT: Final = 1
_KIND: Final = "modtools reused model"
_ARRAYS: Final = "output.safetensors"
_FINGERPRINTS: Final = "row_fingerprints"
_MAXIMUM_BYTES: Final = 1 << 24
_MAXIMUM_NAMES: Final = 1 << 28  # bytes of an array of class names
_OUTPUTS: Final = {
    kind.__name__: kind
    for kind in (ClassMeanOutput, LogisticOutput, RidgeOutput, RidgeRegressionOutput)
}
_ATTRIBUTE: Final = re.compile(r"[A-Za-z]\w*_")
# What version 0.1 called some fields, attributes and arrays; and a parameter it saved as None.
_RENAMED: Final = {
    "nameless": "missing_classes",
    "nameless_means_": "unassigned_means_",
    "uses_pool_": "uses_clusters_",
    "strength": "alpha",
    "strength_": "alpha_",
}
_DROPPED: Final = "pool"
_FIELDS: Final[dict[str, type | tuple[type, ...]]] = {
    "module": (str, list),  # the name of a module, or the members of a combination
    "module_sha256": (str, dict),  # of a combination: by network
    "output": str,
    "parameters": dict,
    "attributes": dict,
    "layouts": dict,  # number type and order in memory of each array
    "classes": list,
    "missing_classes": list,
    "class_dtype": str,
    "task_name": str,
    "task_kind": str,
    "seconds": (int, float),
    "sha256": dict,
}


def write_model(
    path: Path,
    module: PretrainedModule | CombinedModule,
    output: Any,
    facts: Mapping[str, Any],
    *,
    name: str,
    readme: str,
    overwrite: bool,
) -> Path:
    """Write a model to its own folder, atomically.

    Parameters
    ----------
    path : Path
        The folder.
    module : PretrainedModule or CombinedModule
        The frozen module.
    output : estimator
        The output module.
    facts : mapping
        classes, missing_classes, task_name, kind, row_fingerprints and seconds, as `ReusedModel`
        has them.
    name : str
        How a message calls the model.
    readme : str
        The page of the folder.
    overwrite : bool
        Whether a saved model is replaced.
    """
    _check_place(path, overwrite=overwrite)
    arrays, card = _describe(output, facts)
    try:
        with new_folder(path, overwrite=overwrite) as fresh:
            zoo = Zoo(fresh)
            for network in networks_of(module):
                zoo.save(
                    network, description=f"A frozen module of a model for {facts['task_name']}."
                )
            card |= _module_card(module, zoo)
            save_file(arrays, fresh / _ARRAYS)
            card["sha256"] = {_ARRAYS: file_digest(fresh / _ARRAYS)}
            write_card(fresh, card, readme)
    except (OSError, SafetensorError) as error:
        _check_place(path, overwrite=overwrite)  # another process may have taken it
        raise ModtoolsError(f"{name} could not be saved: {error}. Nothing was left.") from error
    return path


def _check_place(path: Path, *, overwrite: bool) -> None:
    """Raise unless a path is free, or a saved model that is to be replaced."""
    is_saved = (path / CARD).is_file() and not path.is_symlink()
    if os.path.lexists(path) and not (overwrite and is_saved):
        raise ModtoolsError(
            f"{path} exists; give another path, or overwrite=True to replace a saved model."
        )


def _describe(
    output: Any, facts: Mapping[str, Any]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the card of a model; raise for what cannot be kept."""
    classes = facts["classes"]
    if type(output) not in _OUTPUTS.values():
        raise ModtoolsError(
            f"only the output modules of modtools can be saved without unpickling "
            f"({', '.join(_OUTPUTS)}); got {type(output).__name__}."
        )
    if classes.dtype.kind not in "iufbU":
        raise ModtoolsError(f"class labels of dtype {classes.dtype} cannot be kept; use str.")
    digests = bytes.fromhex("".join(facts["row_fingerprints"].tolist()))
    arrays = {_FINGERPRINTS: np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32).copy()}
    fitted, attributes, layouts = _fitted(output)
    card = {
        "format": _FORMAT,
        "kind": _KIND,
        "output": type(output).__name__,
        "parameters": output.get_params(deep=False),
        "attributes": attributes,
        "layouts": layouts,
        "classes": classes.tolist(),
        "missing_classes": facts["missing_classes"].tolist(),
        "class_dtype": classes.dtype.str,
        "task_name": facts["task_name"],
        "task_kind": facts["kind"],
        "seconds": facts["seconds"],
    }
    return {**arrays, **fitted}, card


def _fitted(output: Any) -> tuple[dict[str, NDArray[Any]], dict[str, Any], dict[str, Any]]:
    """Return the numeric arrays, the other attributes and the layouts of an output module."""
    arrays: dict[str, NDArray[Any]] = {}
    attributes: dict[str, Any] = {}
    layouts: dict[str, Any] = {}
    for name, value in vars(output).items():
        if not _ATTRIBUTE.fullmatch(name):
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "iufbU":
            axes = axes_in_memory(value.shape, value.strides)
            layouts[name] = {"dtype": value.dtype.str, "axes": axes}
        if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
            arrays[name] = np.ascontiguousarray(value)
        else:
            attributes[name] = value.tolist() if isinstance(value, np.ndarray) else value
    return arrays, attributes, layouts


def _module_card(module: PretrainedModule | CombinedModule, zoo: Zoo) -> dict[str, Any]:
    """Return the entries of a card about the saved module, or the modules of a combination."""
    digests = {name: zoo.card(name)["sha256"]["module.safetensors"] for name in zoo.names}
    if isinstance(module, CombinedModule):
        return {"module": list(module.members), "module_sha256": digests}
    return {"module": module.name, "module_sha256": digests[module.name]}


def _read_module(card: dict[str, Any], zoo: Zoo) -> PretrainedModule | CombinedModule:
    """Load the module of a card, or build its combination, if the weights are those saved."""
    digests = card["module_sha256"]
    if isinstance(card["module"], str):
        members, digests = [card["module"]], {card["module"]: digests}
    else:
        members = [str(member) for member in card["module"]]
    loaded = {}
    for name in dict.fromkeys(member.partition("@")[0] for member in members):
        if zoo.card(name)["sha256"].get("module.safetensors") != digests[name]:
            raise ModtoolsError(f"its module {name} is another one than it was saved with.")
        loaded[name] = zoo.load(name)
    if isinstance(card["module"], str):
        return loaded[card["module"]]
    parts = [member.partition("@") for member in members]
    return CombinedModule([loaded[name].at(layer or None) for name, _, layer in parts])


def read_model(path: Path, allow: Iterable[str]) -> dict[str, Any]:
    """Return what `ReusedModel` takes; files are checked first and nothing is unpickled."""
    return read_steadily(path, CARD, lambda: _read_model(path, allow))


def _read_model(path: Path, allow: Iterable[str]) -> dict[str, Any]:
    card = _read_card(path)
    try:
        check_files(path, card["sha256"], needed=_ARRAYS)
        zoo = Zoo(path, allow=allow)
        module = _read_module(card, zoo)
        arrays = _with_new_names(load_file(path / _ARRAYS))
        fingerprints = [row.tobytes().hex() for row in arrays.pop(_FINGERPRINTS)]
        class_dtype = _dtype(card["class_dtype"], len(card["classes"]))
        classes = np.asarray(card["classes"], dtype=class_dtype)
        missing = np.asarray(card["missing_classes"], dtype=classes.dtype).reshape(-1)
        kind = check_choice(card["task_kind"], get_args(Kind), name="task_kind")
        output = _rebuild(card, {**arrays, **card["attributes"]})
    except Exception as error:  # a card may hold anything
        cause = str(error) if isinstance(error, ModtoolsError) else f"{error!r}."
        raise ModtoolsError(
            f"the folder {path} does not match its card: {cause} Nothing was loaded."
        ) from error
    return {
        "module": module,
        "output": output,
        "classes": classes,
        "missing_classes": missing,
        "task_name": card["task_name"],
        "kind": kind,
        "row_fingerprints": fingerprints,
        "seconds": card["seconds"],
    }


def _read_card(path: Path) -> dict[str, Any]:
    card = read_card_file(path, maximum_bytes=_MAXIMUM_BYTES)
    if not isinstance(card, dict) or (card.get("kind"), card.get("format")) != (_KIND, _FORMAT):
        raise ModtoolsError(f"{path / CARD} is not the card of a {_KIND} of format {_FORMAT}.")
    card = _with_new_names({"layouts": {}, **card})  # models were saved without them before
    check_fields(path / CARD, card, _FIELDS)
    for name in ("attributes", "layouts", "parameters"):
        card[name] = _with_new_names(card[name])
    card["parameters"].pop(_DROPPED, None)
    return card


def _with_new_names(entries: dict[str, Any]) -> dict[str, Any]:
    """Return what was saved by name under the names of this version.

    >>> _with_new_names({"nameless": [], "classes": ["a", "b"]})
    {'missing_classes': [], 'classes': ['a', 'b']}
    """
    return {_RENAMED.get(name, name): value for name, value in entries.items()}


def _dtype(text: str, size: int) -> np.dtype[Any]:
    """Return the dtype that a card states for an array of class labels or fitted numbers."""
    dtype = np.dtype(text)
    if dtype.kind not in "iufbU":
        raise ModtoolsError(f"its arrays cannot have dtype {text}.")
    if dtype.kind == "U" and dtype.itemsize * size > _MAXIMUM_NAMES:
        raise ModtoolsError(f"{size} names of dtype {text} take more bytes than class names can.")
    return dtype


def _laid_out(name: str, value: Any, layout: Any) -> NDArray[Any]:
    """Return an array with the dtype and the order in memory in which it was fitted.

    With another order the values are the same, but a product with them may be rounded otherwise.
    """
    array = np.asarray(value)
    axes, dtype = layout["axes"], _dtype(layout["dtype"], array.size)
    is_same_type = dtype.kind == "U" or dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    if not is_same_type or sorted(axes) != list(range(array.ndim)):
        raise ModtoolsError(f"its layout of {name} is not one of its array.")
    ordered = np.empty([array.shape[axis] for axis in axes], dtype=dtype)
    ordered[...] = array.transpose(axes)
    return ordered.transpose(np.argsort(axes))


def _rebuild(card: dict[str, Any], attributes: dict[str, Any]) -> Any:
    """Return the fitted output module that a card and its arrays describe."""
    if card["output"] not in _OUTPUTS:
        raise ModtoolsError(f"unknown output module {card['output']!r}.")
    output = _OUTPUTS[card["output"]](**card["parameters"])
    strange = [name for name in attributes if not _ATTRIBUTE.fullmatch(name)]
    if strange:
        raise ModtoolsError(f"its output module has no attribute {strange[0]!r}.")
    for name, value in attributes.items():
        if name in card["layouts"]:
            value = _laid_out(name, value, card["layouts"][name])
        setattr(output, name, np.asarray(value) if isinstance(value, list) else value)
    return output

"""Modules in a folder: weights as safetensors, a card in JSON, no pickle."""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError

from modtools._checks import did_you_mean
from modtools._escape import one_line
from modtools._folders import new_folder, put_back, read_steadily
from modtools._reading import as_path
from modtools._results import html_of
from modtools.exceptions import ModtoolsError
from modtools.modules._card import (
    CARD,
    FORMAT,
    check_preprocess,
    plain_training,
    read_card,
    read_preprocess,
    readme,
    write_card,
    write_preprocess,
)
from modtools.modules._module import PretrainedModule
from modtools.modules._rebuild import ALLOWED_PACKAGES, build_network
from modtools.modules._weights import check_files, file_digest, load_weights, save_weights

if TYPE_CHECKING:
    from torch import nn

__all__ = ["UnknownModuleError", "Zoo"]

_WEIGHTS: Final = "module.safetensors"


class UnknownModuleError(ModtoolsError, KeyError):
    """A name that is not in a zoo; also a `KeyError`, as mappings need."""

    __str__ = ModtoolsError.__str__


class Zoo(Mapping[str, PretrainedModule]):
    """A folder of saved modules, one folder each, as a mapping from name to module.

    Iterating gives every saved layer, as ``name@layer`` (``name`` for the output), so that a
    ranking over a zoo covers all of them. ``zoo["name@layer"]`` also reads a layer that was not
    saved, and ``zoo["name"]`` reads all saved layers unless the output is one of them. Weights are
    stored once for all layers. `names` and `load` go network by network.

    Parameters
    ----------
    folder : str or path
        The zoo; it is created when the first module is saved.
    allow : sequence of str, default=()
        Packages whose networks may be built, besides modtools, torch, timm, torchvision,
        transformers and efficientnet_lite_pytorch. Name only packages that you trust.

    Examples
    --------
    >>> import tempfile
    >>> from torch import nn
    >>> zoo = Zoo(tempfile.mkdtemp())
    >>> build = ("torch.nn:Linear", {"in_features": 4, "out_features": 3})
    >>> _ = zoo.save(PretrainedModule(nn.Linear(4, 3), name="small", build=build))
    >>> list(zoo)
    ['small']
    >>> zoo["small"]
    PretrainedModule(small: Linear, pooling=mean, 15 parameters)
    """

    def __init__(self, folder: str | os.PathLike[str], *, allow: Iterable[str] = ()) -> None:
        self.folder = as_path(folder, name="the folder of a zoo")
        names = allow if isinstance(allow, Iterable) and not isinstance(allow, str) else [None]
        self._allow = frozenset((*ALLOWED_PACKAGES, *names))
        if not all(isinstance(name, str) for name in self._allow):
            raise ModtoolsError(f"allow must be a list of names of packages; got {allow!r}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the saved modules, each with all its layers, in order."""
        if not self.folder.is_dir():
            return ()
        put_back(self.folder)
        cards = self.folder.glob("*/card.json")
        return tuple(sorted(p.parent.name for p in cards if not p.parent.name.startswith(".")))

    def __iter__(self) -> Iterator[str]:
        for name in self.names:
            for layer in self.card(name)["layers"]:
                yield name if layer is None else f"{name}@{layer}"

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return key in self.names or key in list(self)

    def __getitem__(self, key: str) -> PretrainedModule:
        name, _, layer = str(key).partition("@")
        module = self.load(name)
        if layer:
            return module.at(layer)
        return module.at(None) if None in module.layers else module

    def __repr__(self) -> str:
        return f"Zoo({str(self.folder)!r}: {len(self.names)} modules, {len(self)} layers)"

    def _repr_html_(self) -> str:
        return html_of(repr(self))

    def card(self, name: str) -> dict[str, Any]:
        """Return the card of a module: its network, how to rebuild it, and its origin.

        Parameters
        ----------
        name : str
            Name of a saved module, without layer.

        Returns
        -------
        dict
            The content of its card.json.

        Examples
        --------
        >>> import tempfile
        >>> from modtools.modules import pixels
        >>> zoo = Zoo(tempfile.mkdtemp())
        >>> _ = zoo.save(pixels())
        >>> zoo.card("pixels")["target"]
        'torch.nn:Flatten'
        """
        return read_steadily(self.folder / Path(str(name)).name, CARD, lambda: self._card(name))

    def _card(self, name: str) -> dict[str, Any]:
        if name not in self.names:
            held = ", ".join(self.names) or "nothing"
            near = did_you_mean(str(name), self.names)
            raise UnknownModuleError(
                f'the zoo {self.folder} holds no module "{name}"{near or "."} It holds {held}.'
            )
        return read_card(self.folder / name)

    def load(self, name: str) -> PretrainedModule:
        """Return a module with all its saved layers.

        The files are checked against the card before they are read; nothing is unpickled. A module
        that is replaced meanwhile is read as a whole, in its old or its new version.

        Parameters
        ----------
        name : str
            Name of a saved module, without layer.

        Returns
        -------
        PretrainedModule
            The module, on the CPU, in eval mode.

        Examples
        --------
        >>> import tempfile
        >>> from modtools.modules import pixels
        >>> zoo = Zoo(tempfile.mkdtemp())
        >>> _ = zoo.save(pixels(name="raw"))
        >>> zoo.load("raw")
        PretrainedModule(raw: Flatten, pooling=mean, 0 parameters)
        """
        return read_steadily(self.folder / Path(str(name)).name, CARD, lambda: self._load(name))

    def _load(self, name: str) -> PretrainedModule:
        card, folder = self._card(name), self.folder / name
        try:
            check_files(folder, card["sha256"], needed=_WEIGHTS)
            network = build_network(card["target"], card["arguments"], self._allow)
            load_weights(network, folder / _WEIGHTS)
            return PretrainedModule(
                network.eval(),
                name=name,
                layers=card["layers"],
                pooling=card["pooling"],
                preprocess=read_preprocess(card, folder),
                source_head=card["source_head"],
                build=(card["target"], card["arguments"]),
            )
        except ModtoolsError as error:
            raise ModtoolsError(
                f"the zoo folder {folder} does not match its card: {one_line(error)}. Nothing was "
                "loaded."
            ) from error

    def save(
        self,
        module: PretrainedModule,
        *,
        source_task: str | None = None,
        proxy: str | None = None,
        training: Mapping[str, Any] | None = None,
        description: str = "",
        overwrite: bool = False,
    ) -> Path:
        """Save a module atomically to its own folder.

        The folder holds one complete version at every moment, even if this process is killed or
        other processes read and write at the same time. Files left by killed processes are removed.

        Parameters
        ----------
        module : PretrainedModule
            A module with ``build=`` and a preprocessing of modtools (or none).
        source_task, proxy : str, optional
            What the module was trained on, and with which proxy objective.
        training : mapping, optional
            How it was trained, as plain JSON: classes, schedule, seed, recipe, labels needed,
            ``accuracy`` (a fraction) and anything else that distinguishes modules. It is stored in
            the card and shown in its README.
        description : str, default=""
            A sentence for the model card.
        overwrite : bool, default=False
            Whether a module of the same name is replaced.

        Returns
        -------
        Path
            The folder of the module.

        Examples
        --------
        >>> import tempfile
        >>> from torch import nn
        >>> module = PretrainedModule(nn.ReLU(), name="relu", build=("torch.nn:ReLU", {}))
        >>> sorted(path.name for path in Zoo(tempfile.mkdtemp()).save(module).iterdir())
        ['README.md', 'card.json', 'module.safetensors']
        """
        network = self._check_saveable(module)
        final = self.folder / module.name
        _check_place(final, overwrite=overwrite)
        texts = {"source_task": source_task, "proxy": proxy, "description": description}
        for name, text in texts.items():
            if not isinstance(text, str | None):
                raise ModtoolsError(f"{name} must be text; got {text!r}.")
        card = _new_card(module, source_task, proxy, description or "")
        card["training"] = plain_training(training)
        try:
            with new_folder(final, overwrite=overwrite) as fresh:
                save_weights(network, fresh / _WEIGHTS)
                card["preprocess"] = write_preprocess(module.preprocess, fresh)
                card["sha256"] = {path.name: file_digest(path) for path in fresh.iterdir()}
                write_card(fresh, card, readme(card))
        except (OSError, SafetensorError, UnicodeEncodeError) as error:
            _check_place(final, overwrite=overwrite)  # another process may have taken it
            raise ModtoolsError(
                f"{module.name} could not be saved: {one_line(error)}. Nothing was left behind."
            ) from error
        return final

    def _check_saveable(self, module: PretrainedModule) -> "nn.Module":
        """Return the network of a module that this zoo could load again, or raise."""
        from torch import nn

        if not isinstance(module, PretrainedModule):
            raise ModtoolsError(
                f"module must be a PretrainedModule; got {type(module).__name__}. The modules of a "
                "CombinedModule are saved one by one."
            )
        try:
            if not isinstance(module.network, nn.Module):
                raise ModtoolsError("its network is a plain callable, not a torch.nn.Module.")
            if module.build is None:
                raise ModtoolsError('it lacks build=("package:Class", {arguments}).')
            if callable(module.source_head):
                raise ModtoolsError("its source_head= is a function; only True or a name is kept.")
            check_preprocess(module.preprocess)
            rebuilt = build_network(*module.build, self._allow).state_dict()
            shapes = {name: t.shape for name, t in module.network.state_dict().items()}
            if shapes != {name: tensor.shape for name, tensor in rebuilt.items()}:
                raise ModtoolsError("its build= makes a network with other weights.")
        except ModtoolsError as error:
            raise ModtoolsError(f"{module.name} cannot be saved: {error}") from error
        return module.network


def _check_place(final: Path, *, overwrite: bool) -> None:
    """Raise unless a folder may be written: it does not exist, or may be replaced."""
    if not os.path.lexists(final):
        return
    if not overwrite:
        raise ModtoolsError(f"{final} exists; give another name, or overwrite=True.")
    if final.is_symlink() or not (final / CARD).is_file():
        raise ModtoolsError(
            f"{final} is not a saved module or model, so it is not replaced; give another name."
        )


def _new_card(
    module: PretrainedModule, source_task: str | None, proxy: str | None, description: str
) -> dict[str, Any]:
    """Return the card of a module, without the fields that depend on its files."""
    target, arguments = module.build or ("", {})
    return {
        "format": FORMAT,
        "name": module.name,
        "target": target,
        "arguments": dict(arguments),
        "layers": list(module.layers),
        "pooling": module.pooling,
        "source_head": module.source_head,
        "source_task": source_task,
        "proxy": proxy,
        "description": description,
        "n_parameters": module.n_parameters(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

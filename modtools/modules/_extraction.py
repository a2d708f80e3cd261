"""From a module and a task to features: streamed, in one forward pass, the network unchanged."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modtools._progress import track
from modtools._validation import check_choice, check_integer, check_probabilities
from modtools.exceptions import ModtoolsError
from modtools.modules._forward import ForwardReader
from modtools.modules._module import PretrainedModule
from modtools.modules._preprocessing import ImagePreprocess, to_tensor

__all__ = ["Extraction", "extract", "iter_features", "run"]

Features = NDArray[np.float32]
Batch = tuple[dict[str | None, Features], Features | None]
_PRECISIONS: Final = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Extraction:
    """What one pass of a module over a task gave.

    Attributes
    ----------
    features : dict of str to ndarray
        Float32 features (n_samples, n_features) by name (``name@tap``).
    source_probabilities : ndarray or None
        Probabilities of the source classes (n_samples, n_source_classes) where the module has a
        source head.
    seconds : float
        Wall time of the pass.
    """

    features: dict[str, Features]
    source_probabilities: Features | None
    seconds: float


def _batches(task: Any, batch_size: int) -> Iterator[tuple[slice, Any]]:
    """Yield the rows and the inputs of each batch of a task, an array or a list of str."""
    for start in range(0, len(task), batch_size):
        rows = slice(start, min(start + batch_size, len(task)))
        yield rows, task.batch(rows) if hasattr(task, "batch") else task[rows]


def _check_device(device: str | torch.device | None, network: Any) -> torch.device:
    """Return the device to run on: the one asked for, else the one the network is on."""
    if device is None:
        parameters = network.parameters() if isinstance(network, nn.Module) else iter(())
        first = next(parameters, None)
        return torch.device("cpu") if first is None else first.device
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = [name for name in ("cuda", "mps", "xpu") if getattr(torch, name).is_available()]
        raise ModtoolsError(
            f'device "{device}" is not available; here: {", ".join(["cpu", *here])}.'
        ) from error
    return found


@contextmanager
def _frozen(network: Any, device: torch.device) -> Iterator[None]:
    """Hold a network in eval mode on a device, then restore its flags and its place."""
    if not isinstance(network, nn.Module):
        yield
        return
    flags = {part: part.training for part in network.modules()}
    places = {t.device for t in (*network.parameters(), *network.buffers())}
    if len(places) > 1 and places != {device}:
        raise ModtoolsError(
            f"the network is spread over {', '.join(sorted(map(str, places)))}; move it to one "
            "device first."
        )
    try:
        network.to(device).eval()
        yield
    finally:
        network.train(flags[network])
        for part, training in flags.items():
            part.training = training
        for place in places:
            network.to(place)


def _to_device(inputs: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """Move tensors to the device of the network; floating ones take the type of its weights."""
    if isinstance(inputs, Mapping):
        return {name: _to_device(value, device, dtype) for name, value in inputs.items()}
    if not isinstance(inputs, Tensor):
        return inputs
    return inputs.to(device, dtype if inputs.is_floating_point() else None)


def _prepare(module: PretrainedModule, batch: Any, device: torch.device) -> Any:
    if module.preprocess is None:
        # Cloned: a network may work in place on its input, and the task's inputs never change.
        inputs = to_tensor(batch)
        inputs = inputs.clone() if inputs is batch else inputs
    elif isinstance(module.preprocess, ImagePreprocess):
        inputs = module.preprocess(to_tensor(batch).to(device))
    else:
        inputs = module.preprocess(batch)
    weights = module.network.parameters() if isinstance(module.network, nn.Module) else ()
    dtype = next((w.dtype for w in weights if w.is_floating_point()), None)
    return _to_device(inputs, device, dtype)


def _to_array(rows: Tensor) -> Features:
    return rows.cpu().numpy()


def _check_finite(features: Features, name: str, first_row: int) -> None:
    """Raise and name the module, the tap, the row and the column of the first NaN or infinity."""
    if np.isfinite(features).all():
        return
    row, column = (int(i) for i in np.argwhere(~np.isfinite(features))[0])
    raise ModtoolsError(
        f'features of module "{name}" must be finite: {features[row, column]} at row '
        f"{first_row + row}, column {column}. Drop this row or check the module's precision "
        "(float16 overflows above 65504)."
    )


def _stream(
    module: PretrainedModule,
    task: Any,
    *,
    device: str | torch.device | None,
    precision: str,
    batch_size: int,
    with_source: bool,
) -> Iterator[tuple[slice, Batch]]:
    """Yield the rows of each batch with its features and source probabilities."""
    kind = _PRECISIONS[check_choice(precision, list(_PRECISIONS), name="precision")]
    batch_size = check_integer(batch_size, name="batch_size")
    if len(task) == 0:
        raise ModtoolsError("the task is empty: there is nothing to extract features from.")
    place = _check_device(device, module.network)
    reader = ForwardReader(module, with_source=with_source)
    n_batches = -(-len(task) // batch_size)
    with _frozen(module.network, place):
        for rows, batch in track(
            _batches(task, batch_size), f"Extract {module.name}", total=n_batches
        ):
            with (
                torch.inference_mode(),
                torch.autocast(place.type, dtype=kind, enabled=kind is not None),
            ):
                output = reader.read(_prepare(module, batch, place), rows.stop - rows.start)
            features = {tap: _to_array(value) for tap, value in output.features.items()}
            for name, tap in zip(module.names, module.taps, strict=True):
                _check_finite(features[tap], name, rows.start)
            source = output.source_probabilities
            yield rows, (features, None if source is None else _to_array(source))


def run(
    module: PretrainedModule,
    task: Any,
    *,
    device: str | torch.device | None = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: Any = None,
    with_source: bool = True,
) -> Extraction:
    """Extract every tap of a module, and its source probabilities, in one pass over a task.

    Parameters
    ----------
    module : PretrainedModule
        The module.
    task : Task, array, tensor or list of str
        The inputs.
    device : str or torch.device, optional
        Where to run; the network is moved there and back. None runs where the network is.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass; features are float32 always.
    batch_size : int, default=64
        Inputs in one forward pass.
    with_source : bool, default=True
        Whether to compute the source probabilities of a module with a source head.

    Returns
    -------
    Extraction
        Features by name, source probabilities and seconds.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> module = PretrainedModule(nn.Linear(4, 3), name="small")
    >>> run(module, np.ones((5, 4), dtype=np.float32)).features["small"].shape
    (5, 3)
    """
    started = time.perf_counter()
    store: dict[str | None, Features] = {}
    source: Features | None = None
    for rows, (features, probabilities) in _stream(
        module,
        task,
        device=device,
        precision=precision,
        batch_size=batch_size,
        with_source=with_source,
    ):
        for tap, block in features.items():
            if tap not in store:
                store[tap] = np.empty((len(task), block.shape[1]), dtype=np.float32)
            store[tap][rows] = block
        if probabilities is not None:
            if source is None:
                source = np.empty((len(task), probabilities.shape[1]), dtype=np.float32)
            source[rows] = probabilities
    if source is not None:
        check_probabilities(source, name=f'source probabilities of module "{module.name}"')
    named = {name: store[tap] for name, tap in zip(module.names, module.taps, strict=True)}
    return Extraction(named, source, time.perf_counter() - started)


def extract(
    module: PretrainedModule,
    task: Any,
    *,
    device: str | torch.device | None = None,
    precision: str = "float32",
    batch_size: int = 64,
    cache: Any = None,
) -> Features | dict[str | None, Features]:
    """Return the features of a module on a task, float32 (n_samples, n_features).

    Parameters
    ----------
    module : PretrainedModule
        The module.
    task : Task, array, tensor or list of str
        The inputs.
    device : str or torch.device, optional
        Where to run; the network is moved there and back. None runs where the network is.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass; features are float32 always.
    batch_size : int, default=64
        Inputs in one forward pass.

    Returns
    -------
    ndarray of shape (n_samples, n_features) or dict
        The features; for a module with several taps a dict from tap to features.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> module = PretrainedModule(nn.Linear(4, 3), name="small")
    >>> extract(module, np.ones((5, 4), dtype=np.float32)).shape
    (5, 3)
    """
    done = run(
        module,
        task,
        device=device,
        precision=precision,
        batch_size=batch_size,
        cache=cache,
        with_source=False,
    )
    by_tap = {tap: done.features[n] for tap, n in zip(module.taps, module.names, strict=True)}
    return by_tap if len(by_tap) > 1 else next(iter(by_tap.values()))


def iter_features(
    module: PretrainedModule,
    task: Any,
    *,
    device: str | torch.device | None = None,
    precision: str = "float32",
    batch_size: int = 64,
) -> Iterator[Features | dict[str | None, Features]]:
    """Yield the features of one batch after the other, so that they need not fit in memory.

    The network is in eval mode, on `device`, until the iteration ends.

    Parameters
    ----------
    module : PretrainedModule
        The module.
    task : Task, array, tensor or list of str
        The inputs.
    device : str or torch.device, optional
        Where to run; the network is moved there and back. None runs where the network is.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Autocast precision of the forward pass; features are float32 always.
    batch_size : int, default=64
        Inputs in one forward pass.

    Yields
    ------
    ndarray of shape (n_rows, n_features) or dict
        What `extract` would stack.

    Examples
    --------
    >>> import numpy as np
    >>> from torch import nn
    >>> module = PretrainedModule(nn.Linear(4, 3), name="small")
    >>> inputs = np.ones((5, 4), dtype=np.float32)
    >>> [block.shape for block in iter_features(module, inputs, batch_size=3)]
    [(3, 3), (2, 3)]
    """
    for _, (features, _source) in _stream(
        module,
        task,
        device=device,
        precision=precision,
        batch_size=batch_size,
        with_source=False,
    ):
        yield features if len(features) > 1 else next(iter(features.values()))

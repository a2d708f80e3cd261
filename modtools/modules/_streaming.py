"""Run a network batch by batch without changing it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modtools._checks import check_choice, check_integer
from modtools._escape import one_line
from modtools._progress import track
from modtools.exceptions import ModtoolsError, ModuleError
from modtools.modules._forward import ForwardReader
from modtools.modules._module import PretrainedModule
from modtools.modules._preprocessing import ImagePreprocess, to_tensor
from modtools.modules._text import TextPreprocess
from modtools.tasks import Task

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Block", "Features", "RunOptions", "as_task", "check_device", "check_options", "stream"]

Features = NDArray[np.float32]
_PRECISIONS: Final = ("float32", "bfloat16", "float16")


class RunOptions(NamedTuple):
    """Device, precision and batch size of a network."""

    device: "str | torch.device | None" = None
    precision: str = "float32"
    batch_size: int = 64


class Block(NamedTuple):
    """The features of a module for some examples of a task."""

    rows: slice
    features: dict[str | None, Features]
    source_probabilities: Features | None


def as_task(inputs: Any) -> Task:
    """Return a task; plain inputs get constant labels."""
    if isinstance(inputs, Task):
        return inputs
    try:
        n_rows = len(inputs)
    except Exception as error:  # the code of a Dataset may fail in any way
        kind = type(inputs).__name__
        raise ModtoolsError(
            f"inputs must be a task, an array or a list; got a {kind} without a length: {error}."
        ) from error
    if n_rows == 0:
        raise ModtoolsError("the task is empty: there is nothing to extract features from.")
    return Task(inputs, np.zeros(n_rows, dtype=int))


def check_options(options: RunOptions) -> None:
    """Raise for options that no network can run with; torch is loaded for a device only."""
    check_choice(options.precision, _PRECISIONS, name="precision")
    check_integer(options.batch_size, name="batch_size")
    if options.device is not None:
        check_device(options.device, None)


def check_device(device: "str | torch.device | None", network: Any) -> "torch.device":
    """Return the device to run on: the one asked for, else that of the network."""
    import torch

    if device is None:
        parameters = network.parameters() if isinstance(network, torch.nn.Module) else iter(())
        first = next(parameters, None)
        return _check_loaded(torch.device("cpu") if first is None else first.device)
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        here = ", ".join(["cpu", *(name for name, found in present.items() if found)])
        raise ModtoolsError(f'device "{device}" is not available here; known: {here}.') from error
    return _check_loaded(chosen)


def _check_loaded(device: "torch.device") -> "torch.device":
    if device.type == "meta":
        raise ModtoolsError('a network on the device "meta" has no weights; load them first.')
    return device


def _check_initialised(network: Any) -> None:
    """Raise for lazy layers that have never run: they would get random weights now."""
    from torch import nn
    from torch.nn.parameter import is_lazy

    if isinstance(network, nn.Module) and any(map(is_lazy, network.parameters())):
        raise ModtoolsError(
            "the network has lazy layers without weights; run it on a batch, then train it or load "
            "its weights first."
        )


def _has_flags(network: Any) -> bool:
    """Return whether a network has training and eval modes."""
    from torch import nn

    try:
        return isinstance(network, nn.Module) and network.training is not None
    except AttributeError:  # torch.jit.freeze takes the flags away
        return False


@contextmanager
def _frozen(network: Any, device: "torch.device | None") -> Iterator[None]:
    """Put a network in eval mode, on a device if one is given; then restore flags and device."""
    if not _has_flags(network):
        yield
        return
    flags = {part: part.training for part in network.modules()}
    places = {tensor.device for tensor in (*network.parameters(), *network.buffers())}
    if device is not None and len(places) > 1:
        spread = ", ".join(sorted(map(str, places)))
        raise ModtoolsError(f"the network is spread over {spread}; leave device= out.")
    try:
        if device is not None:
            network.to(device)
        try:
            network.eval()
        except NotImplementedError as error:
            raise ModtoolsError(
                "the network has no eval mode, as what torch.export makes. Give the network that "
                "was exported, or a plain callable, lambda batch: exported(batch)."
            ) from error
        yield
    finally:
        with suppress(NotImplementedError):
            network.train(flags[network])
        for part, training in flags.items():
            part.training = training
        if device is not None:
            for place in places:
                network.to(place)


def _prepare(module: PretrainedModule, batch: Any, device: "torch.device") -> Any:
    """Return the network's input on its device; floating tensors take the type of its weights."""
    from torch import Tensor, nn

    preprocess = module.preprocess
    if isinstance(preprocess, ImagePreprocess):
        inputs = preprocess(to_tensor(batch).to(device))
    elif preprocess is None:
        inputs = to_tensor(batch)
    else:
        inputs = _preprocessed(module, batch)
    # Copied unless the tensors are new: a network may work in place, and inputs must not change.
    copy = not isinstance(preprocess, ImagePreprocess | TextPreprocess)
    weights = module.network.parameters() if isinstance(module.network, nn.Module) else ()
    dtype = next((weight.dtype for weight in weights if weight.is_floating_point()), None)

    def move(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.to(device, dtype if value.is_floating_point() else None, copy=copy)

    if isinstance(inputs, Mapping):
        return {name: move(value) for name, value in inputs.items()}
    return move(inputs)


def _preprocessed(module: PretrainedModule, batch: Any) -> Any:
    """Return the preprocessed batch; the user code may fail in any way."""
    try:
        return module.preprocess(batch) if module.preprocess else batch
    except ModtoolsError:
        raise
    except Exception as error:
        raise ModuleError(
            f'preprocess of module "{module.name}" failed on a batch of {len(batch)} inputs: '
            f"{type(error).__name__}: {one_line(error)}."
        ) from error


def _to_array(rows: "Tensor") -> Features:
    array: Features = rows.cpu().numpy()
    return array


def _check_finite(features: Features, name: str, first_row: int) -> None:
    """Raise and name module, layer, example and column of the first NaN or infinity."""
    if np.isfinite(features).all():
        return
    row, column = (int(i) for i in np.argwhere(~np.isfinite(features))[0])
    raise ModuleError(
        f'features of module "{name}" must be finite: {features[row, column]} at example '
        f"{first_row + row}, column {column}. Drop this example or check the module's precision "
        "(float16 overflows above 65504)."
    )


def stream(
    module: PretrainedModule, task: Task, options: RunOptions, *, with_source: bool
) -> Iterator[Block]:
    """Check the options now, then yield the features of each batch of the task."""
    if not isinstance(module, PretrainedModule):
        raise ModtoolsError(
            f"module must be a PretrainedModule; got {type(module).__name__}. "
            'Wrap a network: PretrainedModule(network, name="mine").'
        )
    check_options(options)
    device = check_device(options.device, module.network)
    _check_initialised(module.network)
    reader = ForwardReader(module, with_source=with_source)
    return _blocks(reader, task, options, device)


def _blocks(
    reader: ForwardReader, task: Task, options: RunOptions, device: "torch.device"
) -> Iterator[Block]:
    import torch

    module = reader.module
    reduced = options.precision != "float32"
    dtype = getattr(torch, options.precision) if reduced else None
    batches = range(0, len(task), options.batch_size)
    with _frozen(module.network, device if options.device is not None else None):
        for start in track(batches, f"Extract {module.name}"):
            rows = slice(start, min(start + options.batch_size, len(task)))
            # Per batch, so that neither mode leaks into the code that consumes the blocks.
            with (
                torch.inference_mode(),
                torch.autocast(device.type, dtype=dtype, enabled=reduced),
            ):
                inputs = _prepare(module, task.batch(rows), device)
                found = reader.read(inputs, rows.stop - rows.start)
            features = {layer: _to_array(part) for layer, part in found.features.items()}
            for name, part in zip(module.names, features.values(), strict=True):
                _check_finite(part, name, start)
            source = found.source_probabilities
            yield Block(rows, features, None if source is None else _to_array(source))

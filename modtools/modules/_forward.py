"""One forward pass for all layers, which stops after the last one has been read."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from modtools._escape import one_line
from modtools.exceptions import ModtoolsError, ModuleError
from modtools.modules._module import PretrainedModule
from modtools.modules._one_path import can_be_watched, shape_of, watch_path
from modtools.modules._pooling import pool

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["BatchOutput", "ForwardReader"]

_MOST_WATCHED: Final = 2  # the first pass of a network may initialise something


class BatchOutput(NamedTuple):
    """The result of one batch: features of each layer and, if asked for, source probabilities."""

    features: "dict[str | None, Tensor]"
    source_probabilities: "Tensor | None"


class _LastLayerRead(BaseException):
    """Ends a forward pass whose remaining layers are not read."""


class ForwardReader:
    """Runs a network batch by batch and returns the pooled output of each layer.

    If neither the output nor the source head is needed, a pass ends after the last layer that is
    read. Which layer runs last is known only if each layer runs once and the path through the
    network depends only on the shape of the inputs (`watch_path`): the first batch of every shape
    runs to the end to find out. If the path depends on more, all batches run to the end.
    """

    def __init__(self, module: PretrainedModule, *, with_source: bool) -> None:
        self.module = module
        self._head = module.source_head if with_source else None
        inner = [*module.layers, self._head]
        self._hooked = {
            layer: module.inner_module(layer) for layer in inner if isinstance(layer, str)
        }
        reads_output = None in module.layers or (
            self._head is not None and not isinstance(self._head, str)
        )
        self._may_stop = not reads_output and can_be_watched(module.network)
        self._last_layers: dict[Hashable, str] = {}
        self._n_watched: Counter[Hashable] = Counter()
        self._is_first = True
        self._needs_contiguous = False

    def read(self, inputs: Any, n_rows: int) -> BatchOutput:
        """Return the pooled features and the source probabilities of one batch."""
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        to_rows = partial(pool, pooling=self.module.pooling, n_rows=n_rows, mask=mask)
        shape = shape_of(inputs) if self._may_stop else None
        last = self._last_layers.get(shape)
        found: dict[str | None, Tensor] = {}
        calls: list[str] = []

        def keep(layer: str, _network: "nn.Module", _args: Any, output: Any) -> None:
            # Pooled at once: a later layer may work in place, and pooled features are small.
            found[layer] = to_rows(output, name=f"{self.module.name}@{layer}")
            calls.append(layer)
            if layer == last:
                raise _LastLayerRead

        handles = [
            m.register_forward_hook(partial(keep, layer)) for layer, m in self._hooked.items()
        ]
        try:
            output = self._forward(inputs, n_rows, calls, shape=None if last else shape)
        finally:
            for handle in handles:
                handle.remove()
        self._check_calls(calls)
        if None in self.module.layers:
            found[None] = to_rows(output, name=self.module.name)
        source = self._source_probabilities(found, output, to_rows)
        return BatchOutput({layer: found[layer] for layer in self.module.layers}, source)

    def _source_probabilities(
        self, found: "dict[str | None, Tensor]", output: Any, to_rows: "Callable[..., Tensor]"
    ) -> "Tensor | None":
        name = f"{self.module.name} (source head)"
        if self._head is None:
            return None
        if isinstance(self._head, str):
            return _as_probabilities(found[self._head])
        if callable(self._head):
            return to_rows(self._apply(self._head, output), name=name)
        return _as_probabilities(to_rows(output, name=name))

    def _apply(self, head: Callable[[Any], Any], output: Any) -> Any:
        """Return the probabilities that a user function computes from the network's output."""
        try:
            return head(output)
        except ModtoolsError:
            raise
        except Exception as error:
            raise ModuleError(
                f'source_head of module "{self.module.name}" failed on the output of the network: '
                f"{type(error).__name__}: {one_line(error)}."
            ) from error

    def _forward(self, inputs: Any, n_rows: int, calls: list[str], *, shape: Hashable) -> Any:
        """Run the network; the first batch of a shape shows where later ones may end."""
        from torch import Tensor

        try:
            if shape is None or self._n_watched[shape] == _MOST_WATCHED:
                return self._call(inputs)
            self._n_watched[shape] += 1
            with watch_path(self.module.network) as watch:
                output = self._call(inputs)
        except _LastLayerRead:
            return None
        except ModtoolsError:
            raise
        except Exception as error:
            shown = f" of shape {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else ""
            hint = "" if self.module.preprocess else " Does it need preprocess=?"
            raise ModuleError(
                f'module "{self.module.name}" failed on a batch of {n_rows} inputs{shown}: '
                f"{type(error).__name__}: {one_line(error)}.{hint}"
            ) from error
        if watch.is_fixed and len(calls) == len(self._hooked):
            self._last_layers[shape] = calls[-1]
        return output

    def _call(self, inputs: Any) -> Any:
        """Run the network, on contiguous memory if it needs that."""
        from torch import Tensor

        network = self.module.network
        if isinstance(inputs, Mapping):
            return network(**inputs)
        if not isinstance(inputs, Tensor) or inputs.is_contiguous():
            return network(inputs)
        if not self._needs_contiguous:
            try:
                return network(inputs)
            except RuntimeError:  # if another layout helps, the layout was the reason
                self._needs_contiguous = True
        return network(inputs.contiguous())

    def _check_calls(self, calls: list[str]) -> None:
        never = [layer for layer in self._hooked if layer not in calls]
        if never and self._is_first:
            raise ModuleError(
                f'layer "{never[0]}" of {self.module.name} is never reached by the forward pass; '
                "the network registers it but does not call it. Choose another layer."
            )
        if never:
            raise ModuleError(
                f'layer "{never[0]}" of {self.module.name} was reached for some batches and is not '
                "for this one: the network decides by its inputs which layers run. Choose a layer "
                "that always runs, or the output (layers=None)."
            )
        self._is_first = False


def _as_probabilities(rows: "Tensor") -> "Tensor":
    """Return the softmax of logits; outputs that already are probabilities are kept."""
    import torch

    sums_to_one = torch.allclose(rows.sum(1), rows.new_ones(len(rows)), rtol=0, atol=1e-4)
    return rows if sums_to_one and bool((rows >= 0).all()) else rows.softmax(1)

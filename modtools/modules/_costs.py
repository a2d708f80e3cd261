"""What modules cost together: parameters, measured time, or numbers of the caller."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Final

import numpy as np

from modtools._checks import check_choice
from modtools.exceptions import ModtoolsError

__all__ = ["COSTS", "Costs", "check_cost"]

COSTS: Final = {"parameters": "parameters", "milliseconds": "ms an example"}


@dataclass(frozen=True)
class Costs:
    """The cost of each module, where known, and of several together.

    Layers of one network (``network@layer``) cost as much as the most expensive of them, because
    one forward pass serves all.

    Attributes
    ----------
    unit : str
        What is counted, for tables and pictures; empty for numbers of the caller.
    values : dict of str to float
        Cost of each module on its own; a module without an entry has no known cost.

    Examples
    --------
    >>> Costs("parameters", {"net@early": 10.0, "net@late": 30.0, "raw": 0.0}).of(
    ...     ["net@early", "net@late", "raw"]
    ... )
    30.0
    """

    unit: str
    values: Mapping[str, float]

    @property
    def label(self) -> str:
        """What a column or an axis of costs is called."""
        return f"cost ({self.unit})" if self.unit else "cost"

    def text(self, value: float) -> str:
        """Return a cost with its unit."""
        return f"{value:g} {self.unit}".rstrip()

    def of(self, names: Iterable[str]) -> float | None:
        """Return what modules cost together; None where one of them has no known cost."""
        networks: dict[str, float] = {}
        for name in names:
            if name not in self.values:
                return None
            network = name.partition("@")[0]
            networks[network] = max(networks.get(network, 0.0), self.values[name])
        return sum(networks.values())


def check_cost(cost: Any) -> str | Mapping[str, float]:
    """Return the name of a cost or numbers by module, checked."""
    if isinstance(cost, Mapping):
        for name, value in cost.items():
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not is_number or not 0 <= float(value) < np.inf:
                raise ModtoolsError(
                    f'cost of "{name}" must be a finite number of at least 0; got {value!r}.'
                )
        return {str(name): float(value) for name, value in cost.items()}
    if not isinstance(cost, str):
        raise ModtoolsError(
            f'cost must be "parameters", "milliseconds" or a dict {{module: number}}; got {cost!r}.'
        )
    return check_choice(cost, list(COSTS), name="cost")

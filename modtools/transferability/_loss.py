"""Digits that sums of products lose, and the one warning about them."""

from dataclasses import dataclass
from typing import Final

from modtools.exceptions import warn

__all__ = ["LOSS_LIMIT", "LossWarning"]

LOSS_LIMIT: Final = 1e-5  # a tenth of what scores promise: the estimates of loss are rough


@dataclass
class LossWarning:
    """The warning about one summary, however many scores meet the same loss.

    Attributes
    ----------
    of_rows : bool
        Whether the rows themselves were decomposed, so that nothing better is left to read.
    told : bool
        Whether it was given.
    """

    of_rows: bool
    told: bool = False

    def tell(self, loss: float) -> None:
        """Warn (MT008) of a relative loss above `LOSS_LIMIT`, once."""
        if self.told or loss <= LOSS_LIMIT:
            return
        self.told = True
        remedy = "score(features, labels) holds more digits than moments; "
        warn(
            "MT008",
            "columns are nearly dependent, or a few rows lie so far from all others, that scores "
            f"which invert the scatter may be off by {min(loss, 1.0):.0e} of their value: "
            f"{'' if self.of_rows else remedy}look for such rows and columns.",
        )

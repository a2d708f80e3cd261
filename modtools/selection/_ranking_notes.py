"""What is said about a ranking beside its table: names, probabilities, and what was left out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["higher_notes", "probability_text", "skipped_notes", "some"]

_NAMES_SHOWN: Final = 3


def some(names: Sequence[str]) -> str:
    """Return a few names and how many more there are.

    >>> some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def probability_text(percent: float) -> str:
    """Return a probability in percent; what is nearly certain is not called certain.

    >>> probability_text(0.2), probability_text(51.6), probability_text(99.8)
    ('< 1', '52', '> 99')
    """
    return "< 1" if percent < 1 else "> 99" if percent > 99 else f"{percent:.0f}"


def higher_notes(ranked: "pd.DataFrame") -> list[str]:
    """Return why modules that are predicted higher than the pick, the first row, are not it."""
    higher = ranked.loc[ranked["value"] > ranked["value"].iloc[0], "module"].tolist()
    if not higher:
        return []
    return [f"Predicted higher, with a lower probability of being the best: {some(higher)}."]


def skipped_notes(skipped: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return each reason once, with the scores and the modules that it concerns."""
    modules: dict[tuple[str, str], list[str]] = {}
    for module, reasons in skipped.items():
        for score, reason in reasons.items():
            modules.setdefault((reason, score), []).append(module)
    scores: dict[tuple[str, str], list[str]] = {}
    for (reason, score), concerned in modules.items():
        scores.setdefault((reason, ", ".join(concerned)), []).append(score)
    return [
        f"Left out: {', '.join(names)} for {concerned} ({reason})."
        for (reason, concerned), names in scores.items()
    ]

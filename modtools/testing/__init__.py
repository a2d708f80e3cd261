"""Contract checks for scores and proxy objectives that users add themselves."""

from modtools.testing._check_proxy import check_proxy
from modtools.testing._check_score import check_score

__all__ = ["check_proxy", "check_score"]

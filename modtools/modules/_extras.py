"""Packages that come with an extra, imported when a module first needs them."""

from importlib import import_module
from typing import Any

from modtools.exceptions import ModtoolsError

__all__ = ["import_extra"]


def import_extra(package: str, *, extra: str) -> Any:
    """Return a package, or raise and name the extra that installs it.

    >>> import_extra("no_such", extra="demo")
    Traceback (most recent call last):
    modtools.exceptions.ModtoolsError: the package no_such is needed: pip install "modtools[demo]".
    """
    try:
        return import_module(package)
    except ImportError as error:
        text = f'the package {package} is needed: pip install "modtools[{extra}]".'
        raise ModtoolsError(text) from error

"""Modules made with proxy objectives, one after the other or at once, and their baseline."""

__all__: list[str] = []

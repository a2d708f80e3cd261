"""Content hashes of tasks and examples, independent of byte order, layout and container."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from modtools.exceptions import ModtoolsError
from modtools.tasks._inputs import Block
from modtools.tasks._labels import Labels

__all__ = ["iter_row_digests", "label_values", "task_digest"]


def label_values(labels: Labels) -> Any:
    """Return the label values: classes, a 0/1 integer matrix, or real targets."""
    if labels.codes is not None:
        return labels.classes[labels.codes]
    targets = labels.target_matrix()
    if labels.kind == "multilabel":
        return targets.astype(np.int64)
    return targets[:, 0] if targets.shape[1] == 1 else targets


def _framed(text: str) -> bytes:
    """Return UTF-8 bytes preceded by their length, so that joined texts stay unambiguous."""
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(8, "little") + encoded


def task_digest(blocks: Iterable[tuple[str, Block]], labels: Labels) -> str:
    """Return the sha256 over dtype, shape, little-endian bytes, kind and labels as text."""
    digest = hashlib.sha256()
    first: tuple[str, tuple[int, ...]] | None = None
    for dtype, block in blocks:
        row_shape = () if isinstance(block, list) else block.shape[1:]
        if first is None:
            first = (dtype, row_shape)
            digest.update(_framed(f"{dtype} {(len(labels), *row_shape)}"))
        elif first != (dtype, row_shape):
            raise ModtoolsError(
                f"the Dataset must give inputs of one type and shape; got {first} and "
                f"{(dtype, row_shape)}."
            )
        for part in map(_framed, block) if isinstance(block, list) else [block.tobytes()]:
            digest.update(part)
    digest.update(_framed(labels.kind))
    for value in label_values(labels).tolist():
        digest.update(_framed(str(value)))
    return digest.hexdigest()


def iter_row_digests(blocks: Iterable[tuple[str, Block]]) -> Iterator[str]:
    """Yield the sha256 of each example: dtype, shape, little-endian bytes."""
    for dtype, block in blocks:
        if isinstance(block, list):
            yield from (
                hashlib.sha256(_framed("str ()") + _framed(text)).hexdigest() for text in block
            )
        else:
            header = hashlib.sha256(_framed(f"{dtype} {block.shape[1:]}"))
            for row in block:
                digest = header.copy()
                digest.update(row.tobytes())
                yield digest.hexdigest()

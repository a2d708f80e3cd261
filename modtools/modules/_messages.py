"""Messages of other libraries inside those of modtools."""

__all__ = ["one_line"]


def one_line(error: BaseException) -> str:
    r"""Return the text of an error on one line, without its last full stop.

    >>> one_line(ValueError("size mismatch:\n\tfor weight."))
    'size mismatch: for weight'
    """
    return " ".join(str(error).split()).rstrip(". ")

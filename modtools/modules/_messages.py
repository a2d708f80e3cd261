"""Messages of other libraries inside those of modtools."""

__all__ = ["one_line"]


def one_line(error: BaseException) -> str:
    r"""Return the text of an error on one line, without its last full stop.

    What a terminal would obey is written out.

    >>> one_line(ValueError("size mismatch:\n\tfor weight."))
    'size mismatch: for weight'
    >>> one_line(ValueError("\x1b[2J"))
    '\\x1b[2J'
    """
    text = " ".join(str(error).split()).rstrip(". ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

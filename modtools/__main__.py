"""``python -m modtools``: the same commands as ``modtools``."""

from modtools.cli import main

if __name__ == "__main__":
    main()

"""`seekloop extract | retrieve | status | report`; `python -m seekloop` is the same."""

import sys

from seekloop.commands.cli import run


def main() -> None:
    """Run the command named first, with the rest as its arguments."""
    run(sys.argv[1:])


if __name__ == "__main__":
    # Processes that are spawned import the program first, and with it seekloop, before what may import torchvision;
    # but only by the path of its file: a module whose name ends in `__main__` is passed over.
    sys.modules["__main__"].__spec__ = None
    main()

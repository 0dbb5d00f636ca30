"""`seekloop extract | retrieve | status | report`; `python -m seekloop` is the same."""

import sys

from seekloop.commands.cli import run


def main() -> None:
    """Run the command named first, with the rest as its arguments."""
    run(sys.argv[1:])


if __name__ == "__main__":
    main()

"""`seekloop extract | retrieve | status | report`; `python -m seekloop` is the same."""

import io
import os
import sys
from typing import Any

from seekloop.commands.cli import run


class Unread(io.FileIO):
    """Descriptor of an output whose reader may leave: what follows is written to nobody, and the command goes on.

    `seekloop report runs/mine | head` writes all of its files. The signal SIGPIPE would end a run at any socket.
    """

    def write(self, data: Any) -> int:  # noqa: ANN401 - anything that shows bytes
        try:
            return super().write(data)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return memoryview(data).nbytes


def main() -> None:
    """Run the command named first, with the rest as its arguments."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not stream.isatty():
            buffer = io.BufferedWriter(Unread(stream.fileno(), "w", closefd=False))
            about = {"encoding": stream.encoding, "errors": stream.errors, "line_buffering": stream.line_buffering}
            setattr(sys, name, io.TextIOWrapper(buffer, **about, write_through=stream.write_through))
    run(sys.argv[1:])


if __name__ == "__main__":
    # Processes that are spawned import the program first, and with it seekloop, before what may import torchvision;
    # but only by the path of its file: a module whose name ends in `__main__` is passed over.
    sys.modules["__main__"].__spec__ = None
    main()

"""The command line: which command, its arguments, and errors that a person can read."""

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

# Where each command is; imported when it is called, so that the others are quick to start.
COMPOSED = {
    name: f"seekloop.commands.{name}"
    for name in ("check", "extract", "retrieve", "learn", "search", "detect", "finetune", "serve", "replay")
}
PLAIN = {name: "seekloop.commands.reports" for name in ("status", "report")}
PLAIN |= {"agreement": "seekloop.commands.agreement", "store": "seekloop.commands.stores"}
PLAIN |= {"session": "seekloop.commands.sessions"}

USAGE = """seekloop finds every image that shows an object, with a person in the loop.

  seekloop check    [key=value ...]            validate a collection: files, sizes, boxes, copies; what a run would cost
  seekloop extract  [key=value ...]            describe a collection's images once, into a store
  seekloop retrieve [key=value ...] [-m]       simulated searches; extracts what is missing; -m sweeps
  seekloop learn    [key=value ...] [-m]       deep active learning on a dataset of small images; -m sweeps
  seekloop search   [words] [key=value ...]    a collection ranked by words, or by query boxes; -m sweeps
  seekloop detect   [key=value ...] [-m]       class-agnostic regions, drawn and compared with annotated boxes
  seekloop finetune [key=value ...] [-m]       a CNN fine-tuned on the matching images of a collection: its weights
  seekloop serve    [key=value ...]            a page where a person finds every photograph that shows something
  seekloop replay   <session> [key=value ...]  a person's session from its events, compared bit for bit; leaves its run
  seekloop session  ls | show <id> | export <id> format=csv|json|coco|xmp|links|copies | import <file> | fork <id>
                    | rm <id> | backup         what people searched for and found, in the file sessions=sessions.sqlite
  seekloop status   <folder>                   runs below a folder: done, running, failed, interrupted, missing
  seekloop report   <folder> [by=key,key] [compare=key:value,value] [wandb=mode]
                                               tables and plots of the finished runs below a folder
  seekloop store    ls | rm <folder> ... | rm unneeded
                                               what lies in store_dir, how large, which runs need it; remove some
  seekloop agreement <run> criterion=<name>,<name> [cycle=1] [shown=0.05]
                                               criteria that choose from one run's network: images, ranks, pseudo-labels
  seekloop agreement <run> <run> ... [cycle=1]
                                               predictions of the networks that runs have trained

  seekloop retrieve --help                     every key, with its choices; and so for the others above status
"""


def run(arguments: Sequence[str]) -> None:
    """Run one command line.

    Exits with 0, 1 on an error, 2 on a command that does not exist, 130 at Ctrl-C, 143 at SIGTERM.
    """
    with interrupted_by_sigterm() as received:
        try:
            _run(arguments)
        except KeyboardInterrupt as stop:
            message = f"interrupted: {stop}; the same command goes on from there" if str(stop) else "interrupted"
            print(message, file=sys.stderr)
            sys.exit(128 + (received[0] if received else signal.SIGINT))


@contextlib.contextmanager
def interrupted_by_sigterm() -> Iterator[list[int]]:
    """Let SIGTERM, as of a queue or of `timeout`, end a command as Ctrl-C does; gives the signals that have come.

    Whoever sends it to a process and to its group sends it twice: the first one counts. Other threads than the main
    one leave the signal as it is.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def stop(number: int, _: object) -> None:
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return
    name, *rest = arguments
    if name in PLAIN:
        explaining(lambda: command(PLAIN, name)(rest))
    elif name in COMPOSED:
        from seekloop.commands.composed import run_composed

        run_composed(name, rest)
    else:
        print(f"seekloop has no command {name!r}.\n\n{USAGE}", file=sys.stderr)
        sys.exit(2)


def command(homes: Mapping[str, str], name: str) -> Callable[..., float | None]:
    """The function of a command; importing it imports what the command needs."""
    return getattr(importlib.import_module(homes[name]), name)


def explaining(run_command: Callable[[], float | None]) -> float | None:
    """Run a command; an error whose message says it all is printed without a traceback, and ends in exit code 1."""
    try:
        return run_command()
    except Exception as error:
        from seekloop.commands.composed import explained

        shown = explained(error)
        if shown is None or os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"error: {shown}", file=sys.stderr)
        sys.exit(1)

"""Command lines in processes of their own that can be stopped at a chosen moment, as a kill or a queue would.

Also a program: it imports the package once, then forks a process for each command line it is told to run.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("commands.retrieve", "commands.learn", "backbones.tiny", "logs.figures")
IMPORTED = ("timm", "numba", "sklearn.cluster", "wandb", *(f"seekloop.{name}" for name in OURS))
"""What the commands would import after the fork, each for itself."""
PATIENCE = 240.0  # seconds; only a test that hangs waits so long


@dataclass(frozen=True)
class Process:
    """A command line that is running, or has run, in a process of its own."""

    pid: int
    output: Path
    server: "Processes"

    def said(self) -> str:
        return self.output.read_text()

    def wait(self) -> int:
        """Its exit code; that of a killed one is the negative number of the signal."""
        return int(self.server.ask({"wait": self.pid}))

    def until_said(self, words: str) -> None:
        until(lambda: words in self.said(), self.said)


def until(condition, explain=lambda: "it never happened") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


def without_wandb() -> dict[str, str]:
    """The environment without W&B's variables, of which one ties a process to the W&B of the process it came from."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}


class Processes:
    """Starts command lines, each in a process of its own.

    A moment is a word in the path of a file that is being written whole, or the number of an image being read; a `*`
    stands for anything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0

    def __enter__(self):
        command = [sys.executable, "-m", "tests.commands.processes"]
        environment = {**without_wandb(), "OMP_NUM_THREADS": "1"}
        self.program = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *_):
        self.program.stdin.close()
        self.program.stdout.close()
        self.program.wait(PATIENCE)

    def ask(self, job: dict):
        self.program.stdin.write(json.dumps(job) + "\n")
        self.program.stdin.flush()
        return json.loads(self.program.stdout.readline())

    def start(self, *arguments: str, kill_at: str = "", wait_at: str = "", gate: Path | None = None) -> Process:
        """Start a command line; kill it at a moment, or let it wait there until the file `gate` exists."""
        self.count += 1
        output = self.folder / f"{self.count}.txt"
        output.touch()
        job = {"run": arguments, "output": str(output), "kill_at": kill_at, "wait_at": wait_at, "gate": str(gate)}
        return Process(int(self.ask(job)), output, self)


def serve() -> None:
    import seekloop.commands.cli

    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            answer = os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])
        elif not (answer := os.fork()):
            os._exit(_run(job, seekloop.commands.cli.run))
        print(json.dumps(answer), flush=True)


def _run(job, run) -> int:
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells switch off in the background
    _at_moments(job)
    try:
        run(job["run"])
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _at_moments(job) -> None:
    from seekloop.images.generated.scenes import Scenes

    fsync, read = os.fsync, Scenes.read

    def moment(name: str) -> None:
        if job["kill_at"] and fnmatch(name, f"*{job['kill_at']}*"):
            os.kill(os.getpid(), signal.SIGKILL)
        if job["wait_at"] and fnmatch(name, f"*{job['wait_at']}*"):
            print(f"waiting at {name}", flush=True)
            until(Path(job["gate"]).exists)

    def watched_fsync(descriptor):
        fsync(descriptor)
        moment(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def watched_read(self, image):
        moment(f"image {image}.")
        return read(self, image)

    os.fsync, Scenes.read = watched_fsync, watched_read


if __name__ == "__main__":
    serve()

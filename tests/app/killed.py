"""Servers of the small page in processes of their own, which can be killed.

Also a program: it imports everything once, then forks a process for each folder it is told to serve.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Servers:
    """Starts servers, and kills them."""

    def __enter__(self):
        command = [sys.executable, "-m", "tests.app.killed"]
        pipe = subprocess.PIPE
        self.program = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        self.pids = set()
        return self

    def __exit__(self, *_):
        for pid in [*self.pids]:
            self.kill(pid)
        self.program.stdin.close()
        self.program.stdout.close()
        self.program.wait()

    def start(self, folder):
        """Serve `folder/album`; number of the process, and its address."""
        self.program.stdin.write(f"{folder}\n")
        self.program.stdin.flush()
        pid, port = map(int, self.program.stdout.readline().split())
        self.pids.add(pid)
        return pid, f"http://127.0.0.1:{port}"

    def kill(self, pid):
        self.pids.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    from seekloop.app.api import Server
    from tests.app.parts import make_served

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who was killed needs nobody to wait for it
    for line in sys.stdin:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            Server(make_served(Path(line.strip()))).run(sockets=[listener])
            os._exit(0)
        print(pid, listener.getsockname()[1], flush=True)
        listener.close()


if __name__ == "__main__":
    main()

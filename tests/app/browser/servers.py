"""A real server, as a person would start it, that can be killed and started again."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import seekloop

SOURCE = Path(seekloop.__file__).parents[1]
PATIENCE = 150  # seconds until it has looked at all images, on a busy machine


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`seekloop serve` in a process of its own, on one port and one folder however often it is started."""

    def __init__(self, folder, *overrides):
        self.folder, self.overrides, self.port = folder, overrides, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        """Start it, and wait until all images can be searched."""
        where = [f"{key}={self.folder}/{name}" for key, name in KEPT.items()]
        command = [sys.executable, "-m", "seekloop", "serve", *where, *self.overrides]
        command += [f"serve.port={self.port}", "serve.open=false"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | {"PYTHONPATH": str(SOURCE)}, stdout=log, stderr=log
            )
        end = time.monotonic() + PATIENCE
        while not self.ready():
            said = (self.folder / "server.log").read_text()
            assert self.process.poll() is None, f"the server ended: {said}"
            assert time.monotonic() < end, f"the server was not ready in {PATIENCE} s: {said}"
            time.sleep(0.1)
        return self

    def ready(self):
        """Whether it responds, and has looked at all images."""
        try:
            return self.get("/api/status")["collection"]["indexing"]["state"] == "finished"
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path):
        """What the API says."""
        with urllib.request.urlopen(self.address + path) as reply:
            return json.load(reply)

    def kill(self):
        """End it at once, as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """End it as Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


KEPT = {"store_dir": "stores", "sessions": "sessions.sqlite", "runs_dir": "runs", "exports_dir": "exports"}

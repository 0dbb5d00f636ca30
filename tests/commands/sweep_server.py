"""The part of W&B's server that deals out the runs of a grid sweep and hears what they found; on the loopback."""

import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

PROJECT = {"id": "p", "name": "seekloop", "entity": {"id": "e", "name": "me"}}
VIEWER = {"id": "u", "entity": "me", "username": "me", "email": "me@example.org", "flags": "{}", "teams": {"edges": []}}
VERSIONS = {"cliVersionInfo": {"max_cli_version": "0.99.0"}, "latestLocalVersionInfo": None, "features": []}
TIMES = dict.fromkeys(("createdAt", "heartbeatAt", "updatedAt"), "2026-01-01T00:00:00")
EMPTY = {"edges": []}


class Patient(ThreadingHTTPServer):
    """Lets many uploads wait at once."""

    request_queue_size = 128


class SweepServer:
    """Keeps one sweep and hands an agent its settings, one after the other.

    Attributes:
        url: where it listens.
        dealt: run to the settings it was given.
        of_sweep: run to the sweep that it said it belongs to.
        history: run to the rows it sent.
        summary: run to the last summary it sent.
        files: run to the names of the files it sent.
        printed: run to what it printed.
    """

    def __init__(self) -> None:
        self.dealt, self.of_sweep, self.history, self.summary, self.files, self.printed = ({} for _ in range(6))
        self._sweep, self._waiting = {}, []
        self._server = Patient(("127.0.0.1", 0), handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, body: bytes) -> dict:
        if path == "/graphql":
            request = json.loads(body)
            return {"data": self._asked(request["query"], request.get("variables") or {})}
        if stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
            self._hear(stream[1], json.loads(body).get("files") or {})
        return {}

    def _hear(self, run: str, files: dict) -> None:
        rows = files.get("wandb-history.jsonl", {}).get("content", [])
        self.history.setdefault(run, []).extend(json.loads(row) for row in rows)
        lines = files.get("output.log", {}).get("content", [])
        self.printed[run] = self.printed.get(run, "") + "".join(lines)
        for summary in files.get("wandb-summary.json", {}).get("content", []):
            self.summary[run] = json.loads(summary)

    def _asked(self, query: str, values: dict) -> dict:
        data = {"viewer": VIEWER, "serverInfo": VERSIONS}
        data["project"] = {**PROJECT, "artifact": None, "sweep": self._described()}
        if "upsertSweep" in query:
            self._keep(yaml.safe_load(values["config"]))
            data["upsertSweep"] = {"sweep": {"id": "s", "name": "grid0001", "project": PROJECT}}
            data["upsertSweep"]["configValidationWarnings"] = []
        elif "createAgent" in query:
            data["createAgent"] = {"agent": {"id": "a"}}
        elif "agentHeartbeat" in query:
            running = any(json.loads(values.get("runState") or "{}").values())
            commands = [] if running else [self._deal()]
            data["agentHeartbeat"] = {"agent": {"id": "a", "state": "RUNNING"}, "commands": json.dumps(commands)}
        elif "upsertBucket" in query:
            self.of_sweep.setdefault(values["name"], values.get("sweep"))
            bucket = {"id": "b", "name": values["name"], "displayName": "x", "config": "{}", "project": PROJECT}
            data["upsertBucket"] = {"bucket": {**bucket, "sweepName": values.get("sweep")}, "inserted": True}
        elif "createRunFiles" in query:
            self.files.setdefault(values["run"], []).extend(values["files"])
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in values["files"]]
            data["createRunFiles"] = {"runID": "b", "uploadHeaders": [], "files": files}
        elif "createArtifact(" in query:  # there already: nothing needs to be sent
            artifact = {"id": "t", "state": "COMMITTED", "artifactSequence": {"id": "q", "latestArtifact": None}}
            data["createArtifact"] = {"artifact": artifact}
        elif "bucket(" in query:
            data["model"] = {**PROJECT, "bucket": None}
        return data

    def _keep(self, config: dict) -> None:
        choices = {name: about.get("values", [about.get("value")]) for name, about in config["parameters"].items()}
        self._sweep = config
        self._waiting = [dict(zip(choices, row, strict=True)) for row in itertools.product(*choices.values())]

    def _deal(self) -> dict:
        if not self._waiting:
            return {"type": "exit"}
        settings, run = self._waiting.pop(0), f"agents{len(self.dealt)}"
        self.dealt[run] = settings
        arguments = {name: {"value": value} for name, value in settings.items()}
        return {"type": "run", "run_id": run, "program": self._sweep["program"], "args": arguments}

    def _described(self) -> dict:
        nothing = dict.fromkeys(("description", "controller", "scheduler", "user", "bestLoss"))
        names = {"id": "s", "name": "grid0001", "displayName": "grid", "method": "grid", "state": "RUNNING"}
        counts = {"earlyStopJobRunning": False, "runCount": 0, "runs": EMPTY, "priorRuns": EMPTY, "agents": EMPTY}
        return {**TIMES, **nothing, **names, **counts, "config": yaml.safe_dump(self._sweep)}


def handler_of(server: SweepServer) -> type[BaseHTTPRequestHandler]:
    """What speaks HTTP for a server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._send({})

        def do_PUT(self):
            self._body()
            self.close_connection = True  # uploads need no second request
            self._send({})

        def do_POST(self):
            self._send(server.answer(self.path, self._body()))

        def _body(self):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _send(self, content):
            payload = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

    return Handler

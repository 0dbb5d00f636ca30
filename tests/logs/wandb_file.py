"""Reads a `.wandb` file back with nothing of W&B but its protobuf: what was logged is what is checked.

The file is a leveldb-style log: a header, then blocks of 32 KiB of records with a checksum, a length and a kind
(whole, first, middle, last).
"""

import json
import struct
import time
from pathlib import Path

from wandb.proto import wandb_internal_pb2 as pb

HEADER, BLOCK = 7, 32768
WHOLE, LAST = 1, 4


def records(path: Path):
    """The records that are whole: the last one may still be half written."""
    data = path.read_bytes()
    if len(data) < HEADER:
        return
    assert data[:4] == b":W&B"
    position, payload = HEADER, b""
    while position + 7 <= len(data):
        left = BLOCK - position % BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += 7
        if position + length > len(data):
            return
        payload += data[position : position + length]
        position += length
        if kind in (WHOLE, LAST):
            record = pb.Record()
            record.ParseFromString(payload)
            payload = b""
            yield record


def _items(items):
    return {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in items}


class Logged:
    """What one offline run left: `history` (rows), `config`, `run`, `summary`, `artifacts` (type to files)."""

    def __init__(self, folder: Path) -> None:
        (self.directory,) = folder.glob("wandb/offline-run-*")
        self.history, self.summary, self.metrics, self.config = [], {}, {}, {}
        self.artifacts = {}
        for record in self._whole():
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.history.append(_items(record.history.item))
            elif kind == "run":
                self.run = record.run
                self.config.update(_items(record.run.config.update))
            elif kind == "summary":
                self.summary.update(_items(record.summary.update))
            elif kind == "metric":
                self.metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
            elif kind == "artifact":
                contents = record.artifact.manifest.contents
                self.artifacts[record.artifact.type] = {entry.path: Path(entry.local_path) for entry in contents}
            elif kind == "exit":
                self.exit_code = record.exit.exit_code

    def _whole(self):
        """W&B's own process may still be writing for a moment after the run has finished."""
        (file,) = self.directory.glob("*.wandb")
        deadline = time.time() + 20
        while time.time() < deadline:
            found = list(records(file))
            if found and found[-1].WhichOneof("record_type") in ("exit", "footer"):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{file} was never finished")

    def curve(self, key: str) -> list[float]:
        return [row[key] for row in self.history if key in row]

    def media(self, path: str) -> Path:
        return self.directory / "files" / path

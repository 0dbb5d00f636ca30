"""Numbered shards: arrays with checksums in a record that is written after them, and batches that wait to be one."""

import contextlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seekloop.artifacts import files

if TYPE_CHECKING:
    import numpy as np

Arrays = Mapping[str, Any]  # of NumPy, by their names
Span = tuple[int, int]  # first row, and the one after the last
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def record_name(shard: int) -> str:
    """File with the checksums of a shard's arrays; there once they are."""
    return f"shard-{shard:05d}.json"


def write_shard(folder: Path, shard: int, arrays: Arrays, facts: Mapping[str, object], key: str) -> None:
    """Write the arrays by the names of their files, then the record that makes them count, with further facts."""
    (folder / record_name(shard)).unlink(missing_ok=True)
    entries = {name: files.write_array(folder / name, array, key) for name, array in arrays.items()}
    files.write_json(folder / record_name(shard), {"arrays": entries, **facts}, key)


def read_record(folder: Path, shard: int) -> dict[str, Any]:
    """Checksums of a shard's arrays, and the facts that came with them."""
    record: dict[str, Any] = files.read_json(folder / record_name(shard))
    return record


def intact(folder: Path, shard: int) -> bool:
    """Whether a shard's files are there with the sizes that they were written with."""
    try:
        arrays = read_record(folder, shard)["arrays"]
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in arrays.items())
    except (FileNotFoundError, ValueError, KeyError):
        return False


def damaged(folder: Path, shard: int) -> Iterator[tuple[str, str]]:
    """Names of a shard's damaged files, each with what is wrong: reads everything."""
    try:
        arrays = read_record(folder, shard)["arrays"]
    except (FileNotFoundError, ValueError, KeyError):
        arrays = {}
        yield record_name(shard), "missing or no JSON"
    for name, entry in arrays.items():
        if not (folder / name).exists():
            yield name, "missing"
        elif files.checksum(folder / name) != entry["blake2b"]:
            yield name, "checksum differs"


@dataclass(frozen=True)
class Batches:
    """Finished batches of shards that are not whole yet, each in a file of its own until its shard is written.

    They need not survive a power cut: their checksums tell what one has damaged, and that is computed again.

    Attributes:
        folder: where the shards lie.
        key: of the config, below whose folder that is.
    """

    folder: Path
    key: str

    def keep(self, shard: int, span: Span, arrays: Arrays) -> None:
        """Write one batch."""
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        files.write_bytes(self._path(shard, span), buffer.getvalue(), self.key, durable=False)

    def spans(self, shard: int) -> list[Span]:
        """Rows of the batches that are kept of a shard, in their order."""
        names = [path.stem.split("-") for path in self.folder.glob(f"batch-{shard:05d}-*.npz")]
        return sorted((int(first), int(stop)) for _, _, first, stop in names)

    def read(self, shard: int, span: Span) -> Arrays:
        """The arrays of one batch."""
        import numpy as np

        with self._path(shard, span).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def check(self, shard: int, expected: Sequence[Span]) -> list[Span]:
        """The batches of a shard that are kept and whole; any other is deleted. Only inside a claim."""
        whole = []
        for span in self.spans(shard):
            with contextlib.suppress(*DAMAGED):
                self.read(shard, span)
                whole += [span] if span in expected else []
            if span not in whole:
                self._path(shard, span).unlink()
        return whole

    def clear(self, shard: int | None = None) -> None:
        """Delete the batches of a shard that has been written; of all, once all have."""
        for path in self.folder.glob("batch-*.npz" if shard is None else f"batch-{shard:05d}-*.npz"):
            path.unlink()

    def _path(self, shard: int, span: Span) -> Path:
        return self.folder / f"batch-{shard:05d}-{span[0]:08d}-{span[1]:08d}.npz"


class ShardWriter:
    """Keeps batches until they make a whole shard, and has it written then. Several may write different shards at once.

    Args:
        batches: where they are kept until then.
        rows: of a shard.
        write: takes the number of a shard and the arrays of all its batches, in their order.
    """

    def __init__(
        self, batches: Batches, rows: Callable[[int], Span], write: Callable[[int, Sequence[Arrays]], None]
    ) -> None:
        self.batches, self.rows, self.write = batches, rows, write
        self._open: dict[int, dict[Span, Arrays]] = {}

    def add(self, shard: int, span: Span, arrays: Arrays) -> None:
        """Take a batch; one that is there already stays."""
        there = self._kept(shard)
        if span not in there:
            there[span] = arrays
            if not self._whole(shard):
                self.batches.keep(shard, span, arrays)
        self._fold(shard)

    def leave(self, shard: int) -> None:
        """Leave a shard to the disk, until its next batch comes; written if every batch is there.

        Every batch is there if a process was stopped just before it wrote the shard.
        """
        self._fold(shard)
        self._open.pop(shard, None)

    def _fold(self, shard: int) -> None:
        there = self._kept(shard)
        if self._whole(shard):
            self.write(shard, [there[span] for span in sorted(there)])
            self.batches.clear(shard)
            del self._open[shard]

    def _kept(self, shard: int) -> dict[Span, Arrays]:
        if shard not in self._open:
            self._open[shard] = {span: self.batches.read(shard, span) for span in self.batches.spans(shard)}
        return self._open[shard]

    def _whole(self, shard: int) -> bool:
        first, stop = self.rows(shard)
        return sum(end - start for start, end in self._open[shard]) == stop - first


def joined(batches: Sequence[Arrays], name: str) -> "np.ndarray":
    """One array of all batches of a shard."""
    import numpy as np

    return np.concatenate([arrays[name] for arrays in batches])

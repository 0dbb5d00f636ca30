"""The same numbers as before? Runs of two commits, compared value for value: the guard of a rebuild.

    python -m benchmarks.same_numbers make --commit 98bf428 --out <folder> --voc <VOCdevkit> --checkpoint <ResNet-50>
    python -m benchmarks.same_numbers compare <folder of A> <folder of B>
    python -m benchmarks.same_numbers both --commits 98bf428 HEAD --out <folder> --voc ... --checkpoint ...

`make` checks a commit out into a temporary folder (`git worktree`), runs the items below with it in this environment,
and keeps their tables and arrays. An item that is done is not run again, so a `make` that was killed goes on. `compare`
ends with 1 if anything differs or one side lacks something. Items are matched by their settings: names of runs, stores
and folders may change from commit to commit. Both sides should be made on one machine, one after the other: another
processor or another torch changes last bits, and `compare` says so where it sees it.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import facts
from benchmarks.differences import Comparison, compare_items, difference, report

POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "numba", "faiss-cpu", "pillow", "pandas")
MADE = "made.json"  # what a folder was made with
MARK = "item.json"  # written last: an item that has it is done
TAIL = 15  # lines of a failed item's log that are shown


class UnclearError(RuntimeError):
    """An item left something else than what is known; says what."""


@dataclass(frozen=True)
class Item:
    """One command, and what it leaves.

    Attributes:
        name: part and settings, such as `demo/go`; a folder of this name holds what it left.
        command: of seekloop.
        words: its overrides, spelled as at 98bf428; `{voc}` and `{checkpoint}` stand for what `make` is given.
        stores: the folder of stores that it uses: items that name the same one share what is in it.
    """

    name: str
    command: str
    words: tuple[str, ...]
    stores: str

    @property
    def part(self) -> str:
        """What `--parts` calls it by."""
        return self.name.partition("/")[0]

    @property
    def needs_files(self) -> bool:
        """Whether files must be given to `make`."""
        return any("{" in word for word in self.words)

    @property
    def leaves_store(self) -> bool:
        """Whether the arrays of a store are kept, and not the tables of a run."""
        return self.command == "extract"


@dataclass(frozen=True)
class Respelling:
    """An override that is spelled otherwise from some commit on.

    Attributes:
        since: the first commit that knows the new spelling.
        old: a key, or a key and a value (`encoding=crops`).
        new: the same in the new spelling; None: it is no longer said.
    """

    since: str
    old: str
    new: str | None

    def __call__(self, word: str) -> str | None:
        """The word in the new spelling, if it is the one meant; None: nothing is to be said."""
        key, equals, value = word.partition("=")
        if word == self.old:
            return self.new
        if key == self.old:
            return None if self.new is None else f"{self.new}{equals}{value}"
        return word


RESPELLED: tuple[Respelling, ...] = ()
"""In the order of the commits: each is applied to what those before it made."""


def photographs() -> Iterator[Item]:
    """The paper's four representations on photographs of VOC2012: one search per class, ten rounds of ten."""
    fixed = ("collection=voc2012", "collection.root={voc}", "backbone=resnet50_v1", "backbone.checkpoint={checkpoint}")
    loop = ("loop.queries=1", "loop.rounds=10", "seed=0", "wandb.mode=disabled")
    local = itertools.product(("lo_all", "gl_concat_all", "gl_pool_all"), ("2x2", "4x4"))
    yield Item("photographs/descriptors", "extract", fixed, "photographs")
    for (representation, *grid), criterion in itertools.product([("go",), *local], ("uncertainty", "pf_ma")):
        name = "-".join([representation, *grid, criterion, "s0"])
        choices = [f"representation={representation}", *(f"grid={cells}" for cells in grid), f"criterion={criterion}"]
        yield Item(f"photographs/{name}", "retrieve", (*fixed, *choices, *loop), "photographs")


def demo() -> Iterator[Item]:
    """The demo, one sweep of one run for each representation."""
    for representation in ("go", "lo_all", "gl_concat_all", "gl_pool_all"):
        words = ("-m", "experiment=demo", f"representation={representation}", "wandb.mode=disabled")
        yield Item(f"demo/{representation}-4x4-uncertainty-s0", "retrieve", words, "demo")


def stores() -> Iterator[Item]:
    """Descriptors of 60 scenes: from tokens, from crops, in CLAID's boxes and in its masks."""
    scenes = ("collection=scenes", "collection.images=60", "backbone=tiny")
    claid = (*scenes, "regions=claid", "backbone@regions.backbone=tiny")
    yield Item("stores/tokens", "extract", (*scenes, "encoding=tokens", "grid=4x4"), "tokens")
    yield Item("stores/crops", "extract", (*scenes, "encoding=crops", "grid=2x2"), "crops")
    yield Item("stores/claid", "extract", claid, "claid")
    yield Item("stores/claid-masks", "extract", (*claid, "encoding=roi", "encoding.inside=mask"), "claid-masks")


def small() -> Iterator[Item]:
    """One short run of each of the other commands."""
    regions = ("collection=scenes", "collection.images=40", "regions=claid", "backbone@regions.backbone=tiny")
    learning = ("split=0", "pretraining=quick", "semi=quick", "criterion=jlp", "wandb.mode=disabled")
    yield Item("learn/digits-quick-jlp-s0", "learn", ("-m", "experiment=learning_demo", *learning), "learn")
    yield Item("search/scenes-claid", "search", (*regions, "wandb.mode=disabled"), "regions")
    yield Item("detect/scenes-claid", "detect", (*regions, "wandb.mode=disabled"), "regions")


ITEMS = (*stores(), *small(), *demo(), *photographs())
PARTS = tuple(dict.fromkeys(item.part for item in ITEMS))


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = found.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="run everything with one commit")
    make.add_argument("--commit", required=True)
    compare = commands.add_parser("compare", help="two folders that `make` wrote")
    compare.add_argument("folders", nargs=2, type=Path, metavar="folder")
    both = commands.add_parser("both", help="make two commits and compare them")
    both.add_argument("--commits", nargs=2, required=True, metavar="commit")
    for making in (make, both):
        making.add_argument("--out", type=Path, required=True, help="folder for what is made; one that exists goes on")
        making.add_argument("--voc", type=Path, default=None, help="VOCdevkit; without it photographs are left out")
        making.add_argument("--checkpoint", type=Path, default=None, help="ResNet-50, ImageNet weights of version 1")
        making.add_argument("--threads", type=int, default=1, help="of every library in every run")
    for command in (make, compare, both):
        command.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    return found


def main() -> int:
    asked = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary checkout is removed
    if asked.command == "make":
        return make(asked.commit, asked.out, asked)
    if asked.command == "compare":
        return compare(*asked.folders, asked.parts)
    folders = [asked.out / _git("rev-parse", "--short=10", commit) for commit in asked.commits]
    made = [make(commit, folder, asked) for commit, folder in zip(asked.commits, folders, strict=True)]
    return max(compare(*folders, asked.parts), *made)


def make(commit: str, out: Path, asked: argparse.Namespace) -> int:
    """Run what is missing of the items asked for; returns 1 if one of them failed."""
    full, out = _git("rev-parse", f"{commit}^{{commit}}"), out.resolve()
    note(out, {"commit": full, "threads": asked.threads, "processor": _processor(), "versions": _versions()})
    files = {name: path.resolve() for name in ("voc", "checkpoint") if (path := getattr(asked, name))}
    wanted = [item for item in ITEMS if item.part in asked.parts]
    items = [item for item in wanted if len(files) == 2 or not item.needs_files]
    if len(items) < len(wanted):
        print(f"{len(wanted) - len(items)} items are left out: they need --voc and --checkpoint")
    with checkout(full) as tree:
        maker = Maker(tree, full, out, files, asked.threads)
        maker.check()
        failed = 0
        for number, item in enumerate(items, 1):
            print(f"[{number:2}/{len(items)}] {commit} {item.name}: ", end="", flush=True)
            outcome = maker.ensure(item)
            failed += outcome.startswith("failed")
            print(outcome, flush=True)
    print(f"{len(items) - failed} of {len(items)} items are in {out}; {_seconds_of_parts(out, items)}")
    return 1 if failed else 0


@dataclass(frozen=True)
class Maker:
    """Runs items with one checked-out commit.

    Attributes:
        tree: the checkout.
        commit: its full name.
        out: folder of what is made.
        files: what stands for the names in braces in the items' overrides.
        threads: of every library.
    """

    tree: Path
    commit: str
    out: Path
    files: Mapping[str, Path]
    threads: int

    def check(self) -> None:
        """Refuse to go on with another seekloop than the checkout's.

        Raises:
            RuntimeError: with the folder that it was imported from.
        """
        words = [sys.executable, "-c", "import seekloop; print(seekloop.__file__)"]
        found = subprocess.run(words, cwd=self.tree.parent, env=self._environment(), capture_output=True, text=True)
        if found.returncode or not Path(found.stdout.strip()).is_relative_to(self.tree):
            raise RuntimeError(f"seekloop is not the checkout's: {found.stdout}{found.stderr}")

    def ensure(self, item: Item) -> str:
        """Run an item unless it is done; returns in words what was done."""
        folder = self.out / "items" / item.name
        if (mark := folder / MARK).exists() and json.loads(mark.read_text())["words"] == list(item.words):
            return "was done before"
        log = self.out / "work" / "logs" / f"{item.name}.log"
        started = time.monotonic()
        if self._run(item, log):
            tail = log.read_text(errors="replace").splitlines()[-TAIL:]
            return "\n    ".join([f"failed, see {log}", *tail])
        seconds = round(time.monotonic() - started, 1)
        try:
            self._keep(item, folder, seconds)
        except UnclearError as error:
            return f"failed: {error}"
        return f"{seconds} s"

    def _keep(self, item: Item, folder: Path, seconds: float) -> None:
        """Keep what an item left: all of it appears at once."""
        fresh = folder.with_name(f"{folder.name}.part")
        for old in (folder, fresh):
            shutil.rmtree(old, ignore_errors=True)
        fresh.mkdir(parents=True)
        if item.leaves_store:
            keep_arrays(self._stores(item), fresh)
        else:
            keep_tables(self._runs(item), fresh)
        (fresh / MARK).write_text(json.dumps({"command": item.command, "words": item.words, "seconds": seconds}))
        fresh.rename(folder)

    def _run(self, item: Item, log: Path) -> int:
        shutil.rmtree(self._runs(item), ignore_errors=True)  # a run begins anew, descriptors go on
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "seekloop", item.command, *self._words(item)]
        with log.open("w") as file:
            file.write(" ".join(words) + "\n")
            file.flush()
            cwd = self.tree.parent
            return subprocess.run(words, cwd=cwd, env=self._environment(), stdout=file, stderr=file).returncode

    def _words(self, item: Item) -> list[str]:
        """Overrides in this commit's spelling, with folders of this item's own."""
        files = {name: _quoted(path) for name, path in self.files.items()}
        words = [*(word.format(**files) for word in item.words), f"store_dir={_quoted(self._stores(item))}"]
        if not item.leaves_store:
            experiment = item.name.replace("/", "-")
            words += [f"runs_dir={_quoted(self._runs(item))}", f"experiment_name={experiment}"]
        return respelled(words, [change for change in RESPELLED if _contains(self.commit, change.since)])

    def _stores(self, item: Item) -> Path:
        return self.out / "work" / "stores" / item.stores

    def _runs(self, item: Item) -> Path:
        return self.out / "work" / "runs" / item.name

    def _environment(self) -> dict[str, str]:
        pools = dict.fromkeys(POOLS, str(self.threads))
        return {**os.environ, **pools, "PYTHONPATH": str(self.tree / "src")}


def respelled(words: Iterable[str], changes: Iterable[Respelling]) -> list[str]:
    """Overrides after these changes, in their order."""
    known: list[str | None] = list(words)
    for change in changes:
        known = [None if word is None else change(word) for word in known]
    return [word for word in known if word is not None]


def keep_tables(runs: Path, folder: Path) -> None:
    """Copy the tables of the one run below a folder, and its summary as a table of one row.

    Raises:
        UnclearError: if these are not the tables and the summary of one run.
    """
    summaries = list(runs.rglob("summary.json"))
    tables = sorted(runs.rglob("*.parquet"))
    names = [path.name for path in tables]
    if not tables or len(set(names)) < len(names) or len(summaries) != 1:
        raise UnclearError(f"{runs} holds the tables {names} and {len(summaries)} summaries, not those of one run")
    for path in tables:
        shutil.copyfile(path, folder / path.name)
    pd.json_normalize(json.loads(summaries[0].read_text())).to_parquet(folder / "summary.parquet")


def keep_arrays(stores: Path, folder: Path) -> None:
    """Copy the arrays of the one store below a folder, those in several files (`whole-00000.npy`, ...) as one.

    Raises:
        UnclearError: if there is no store, or more than one.
    """
    found = {path.parent for path in stores.rglob("whole*.npy")}
    if len(found) != 1:
        raise UnclearError(f"{stores} holds {len(found)} stores, not one")
    parts: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(found.pop().glob("*.npy"), key=lambda path: (len(path.name), path.name)):
        parts[re.sub(r"-\d+$", "", path.stem)].append(path)
    for name, paths in parts.items():
        np.save(folder / f"{name}.npy", np.concatenate([np.load(path) for path in paths]))


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The files of a commit, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as folder:
        tree = Path(folder).resolve() / "tree"
        _git("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=facts.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _contains(commit: str, earlier: str) -> bool:
    return not subprocess.run(["git", "merge-base", "--is-ancestor", earlier, commit], cwd=facts.ROOT).returncode


def _quoted(path: Path) -> str:
    """A path as a value of Hydra's."""
    text = str(path).replace("'", r"\'")
    return f"'{text}'"


def _processor() -> dict[str, Any]:
    found = facts.machine()
    return {key: found[key] for key in ("cpu", "gpu")}


def _versions() -> dict[str, str]:
    installed = {found.metadata["Name"].lower(): found.version for found in metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


def note(out: Path, made: Mapping[str, Any]) -> None:
    """Write down what a folder is made with.

    Raises:
        SystemExit: if it was begun with something else.
    """
    path = out / MADE
    if path.exists() and (before := json.loads(path.read_text())) != made:
        changed = [key for key in made if before.get(key) != made[key]]
        raise SystemExit(f"{out} was begun with another {' and '.join(changed)}: choose another folder, or delete it")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made, indent=1))


def _seconds_of_parts(out: Path, items: Sequence[Item]) -> str:
    seconds: dict[str, float] = defaultdict(float)
    for item in items:
        if (mark := out / "items" / item.name / MARK).exists():
            seconds[item.part] += json.loads(mark.read_text())["seconds"]
    return ", ".join(f"{part} {total:.0f} s" for part, total in seconds.items())


def compare(a: Path, b: Path, parts: Sequence[str] = PARTS) -> int:
    """Print what was compared and what differs; returns 1 if anything does, or nothing was there to compare."""
    for side, folder in (("A", a), ("B", b)):
        print(f"{side}: {folder}, commit {_made(folder).get('commit', 'unknown')}")
    for key in ("threads", "processor", "versions"):
        if (left := _made(a).get(key)) != (right := _made(b).get(key)):
            print(f"made with another {key}, which alone may change numbers: {left} and {right}")
    names = [name for name in _names(a, b) if name.partition("/")[0] in parts]
    found = compare_items(a / "items", b / "items", names) + _asked_otherwise(a, b, names)
    print(f"\n{report(found)}")
    if nowhere := [item.name for item in ITEMS if item.part in parts and item.name not in names]:
        print(f"\nMade on neither side: {', '.join(nowhere)}.")
    return 1 if found.different or not found.compared else 0


def _made(folder: Path) -> dict[str, Any]:
    return json.loads((folder / MADE).read_text()) if (folder / MADE).exists() else {}


def _names(a: Path, b: Path) -> list[str]:
    """Items that are done on either side, in the order of `ITEMS`."""
    order = [item.name for item in ITEMS]
    folders = {mark.parent.relative_to(side / "items") for side in (a, b) for mark in side.glob(f"items/*/*/{MARK}")}
    names = [folder.as_posix() for folder in folders if folder.suffix != ".part"]
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _asked_otherwise(a: Path, b: Path, names: Iterable[str]) -> Comparison:
    """Items whose overrides differ: their numbers may then differ, or be the same by chance."""
    found = Comparison()
    for name in names:
        marks = [side / "items" / name / MARK for side in (a, b)]
        if all(mark.exists() for mark in marks):
            left, right = (json.loads(mark.read_text())["words"] for mark in marks)
            if left != right:
                shown = f"{' '.join(left)}, not {' '.join(right)}"
                found += difference(name, "", "", "asked for with other overrides", shown)
    return found


if __name__ == "__main__":
    sys.exit(main())

"""`seekloop store`: what lies in a store folder, which runs need it, and what can go."""

import shutil

import pytest

from seekloop.commands.compose import resolve
from seekloop.commands.stores import OPTIONS
from tests.commands.runs import EXTRACTED, SMALL, folder_of, places, refused, seekloop, worked


@pytest.fixture
def kept(tmp_path):
    """A run over one store, and a second store that no run needs."""
    where = places(tmp_path / "runs", tmp_path / "stores")
    run = folder_of(worked(seekloop("retrieve", *SMALL, *where, "representation=go", "loop.rounds=1")))
    worked(seekloop("extract", *EXTRACTED, where[1], "store.dtype=float32"))
    folders = sorted((tmp_path / "stores").glob("*/manifest.json"))
    needed = next(path.parent for path in folders if "float16" in path.read_text())
    other = next(path.parent for path in folders if "float32" in path.read_text())
    return run, needed, other, where


def row(out, folder):
    return next(line for line in out.splitlines() if str(folder) in line)


def test_what_runs_need_is_told_and_what_they_do_not_can_go(kept):
    """The run reads global descriptors only: it needs the store although its recipe names no regions."""
    run, needed, other, where = kept
    out = worked(seekloop("store", "ls", *where)).out
    assert f"default/{run.name}" in row(out, needed)
    assert "descriptors" in row(out, needed)
    assert "finished" in row(out, other)
    assert run.name not in row(out, other)
    assert "2 artifacts" in out
    assert "no run below" in out
    assert f"removed {other} (descriptors" in worked(seekloop("store", "rm", "unneeded", *where)).out
    assert needed.exists()
    assert not other.exists()
    assert "no run below" not in worked(seekloop("store", "ls", *where)).out


def test_what_a_run_needs_goes_only_when_told_so(kept):
    run, needed, _, where = kept
    said = refused(seekloop("store", "rm", str(needed), *where))
    assert f"default/{run.name} below" in said
    assert "anyway=true" in said
    assert needed.exists()
    worked(seekloop("store", "rm", str(needed), "anyway=true", *where))
    assert not needed.exists()
    assert (run / "COMPLETE").exists()


def test_an_unfinished_store_is_told_and_can_go(kept):
    _, _, other, where = kept
    (other / "COMPLETE").unlink()
    assert "unfinished" in row(worked(seekloop("store", "ls", *where)).out, other)
    worked(seekloop("store", "rm", str(other), *where))
    assert not other.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rm", "elsewhere"), "it is no artifact below store_dir"),
        (("sort",), "Say: seekloop store ls"),
        (("rm",), "Say: seekloop store ls"),
        (("ls", "store_dir=nowhere"), "there is no such folder"),
    ],
)
def test_what_is_not_understood_says_what_is(kept, arguments, message):
    where = [word for word in kept[3] if not any(word.partition("=")[0] in argument for argument in arguments)]
    assert message in refused(seekloop("store", *arguments, *where))


def test_pretrained_weights_are_needed_by_the_runs_that_start_from_them(tmp_path):
    where = places(tmp_path / "runs", tmp_path / "stores")
    small = ["dataset=digits", "dataset.images=100", "dataset.test_images=50", "model.divisor=32", "training=quick"]
    small += [
        "training.epochs=1",
        "training.iterations=1",
        "learning.cycles=1",
        "learning.initial=10",
        "accelerator=cpu",
    ]
    small += ["learning.budget=1", "pretraining=quick", "pretraining.epochs=1", "wandb.mode=disabled"]
    run = folder_of(worked(seekloop("learn", *small, *where)))
    out = worked(seekloop("store", "ls", *where)).out
    assert "weights" in row(out, "pretrained")
    assert run.name in row(out, "pretrained")
    shutil.rmtree(run)
    worked(seekloop("store", "rm", "unneeded", *where))
    assert not list((tmp_path / "stores" / "pretrained").glob("*/weights.pt"))


def test_the_folders_it_looks_in_are_those_of_the_configs():
    config = resolve("retrieve", [])
    assert {name: OPTIONS[name] for name in ("store_dir", "runs_dir")} == {
        name: config[name] for name in ("store_dir", "runs_dir")
    }

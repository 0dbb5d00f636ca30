"""A figure is a picture of numbers that are whole: a run does not fail for it."""

import errno
import os
from pathlib import Path

import pytest
import yaml

from tests.commands.runs import SMALL, folder_of, places, results, seekloop, worked

SCENES = ("collection=scenes", "collection.images=24", "trainer.workers=0", "wandb.mode=disabled")
MODEL = "_target_: tests.learning.worlds.Smalls\nname: small\nfrozen: false\n"
COMMANDS = {
    "retrieve": (*SMALL, "wandb.mode=offline"),
    "search": (*SCENES, "grid=2x2", "search.cutoffs=[5]", "instances.queries=1"),
    "detect": (*SCENES, "regions=grid", "grid=2x2"),
    "learn": (
        *("model=small", "training=quick", "training.epochs=1", "training.iterations=2", "training.horizon=1"),
        *("dataset.images=100", "learning.cycles=2", "learning.budget=10", "accelerator=cpu", "wandb.mode=disabled"),
    ),
}


@pytest.fixture
def no_room_for_figures(monkeypatch):
    """A disk that has no room for pictures; the tables before them are written."""
    fsync = os.fsync

    def full(descriptor):
        if ".png" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


@pytest.mark.usefixtures("no_room_for_figures")
@pytest.mark.parametrize("command", COMMANDS)
def test_figures_that_cannot_be_written_are_told_and_the_run_is_done(command, tmp_path, stores):
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "small.yaml").write_text(MODEL)
    where = places(tmp_path / "runs", stores)
    outcome = worked(seekloop(command, f"--config-dir={tmp_path / 'conf'}", *COMMANDS[command], *where))
    folder = folder_of(outcome)
    assert (folder / "COMPLETE").exists()
    assert (folder / "summary.json").exists()
    assert yaml.safe_load((folder / "config.yaml").read_text())["run_id"] == folder.name
    missing = [line for line in outcome.out.splitlines() if line.startswith("figure ")]
    assert missing
    assert all("is missing: No space left on device. The numbers are whole without it" in line for line in missing)
    assert not list((folder / "figures").iterdir())
    assert (
        "already finished"
        in worked(seekloop(command, f"--config-dir={tmp_path / 'conf'}", *COMMANDS[command], *where)).out
    )


@pytest.mark.usefixtures("no_room_for_figures")
def test_the_numbers_are_those_of_a_run_with_figures(tmp_path, stores, finished):
    outcome = worked(seekloop("retrieve", *SMALL, *places(tmp_path, stores)))
    assert results(folder_of(outcome)) == results(finished[0])

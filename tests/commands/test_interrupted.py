"""Ctrl-C: one line that says what was kept and how to go on, exit code 130, and the same command goes on from there."""

import os
import signal
import subprocess
import sys

from tests.commands.processes import until
from tests.commands.runs import EXTRACTED, SMALL, contents, places, seekloop, worked

DETECTED = ("detect", *EXTRACTED[:2], "regions=claid", "backbone@regions.backbone=tiny", "regions.shortest=20")
DETECTED += ("trainer.jobs=1", "trainer=cpu", "trainer.workers=0", "wandb.mode=disabled")


def interrupted(processes, tmp_path, moment, *command):
    """Wait for a moment, press Ctrl-C; the last line."""
    process = processes.start(*command, wait_at=moment, gate=tmp_path / "never")
    until(lambda: "waiting at" in process.said() or "rror" in process.said(), process.said)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait() == 130, process.said()
    said = process.said()
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if "interrupted" in line]
    assert lines == said.splitlines()[-1:], said
    return lines[0]


def test_in_an_extraction_every_batch_is_kept(processes, tmp_path):
    """Batches of 8: image 29 is of the fourth, so 24 are kept, of which 8 lie in an unfinished shard of 16."""
    command = ("extract", *EXTRACTED, f"store_dir={tmp_path / 'stores'}")
    line = interrupted(processes, tmp_path, "image 29.", *command)
    assert line.startswith(f"interrupted: 24 of 40 images are described and kept in {tmp_path / 'stores'}")
    assert line.endswith("; the same command goes on from there")
    again = worked(seekloop(*command))
    assert "(24 are done already)" in again.out
    worked(seekloop("extract", *EXTRACTED, f"store_dir={tmp_path / 'straight'}"))
    assert contents(tmp_path / "stores") == contents(tmp_path / "straight")


def test_sigterm_to_a_process_its_group_and_so_its_decoding_workers(tmp_path):
    """As `timeout` sends it: to the process, and once more to the group that it and its workers are in."""
    words = [*EXTRACTED, "trainer.workers=2", f"store_dir={tmp_path / 'stores'}", "collection.images=2000"]
    command = [sys.executable, "-m", "seekloop", "extract", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            until(lambda: list(tmp_path.glob("stores/*/batch-*")) or process.poll() is not None)
            os.kill(process.pid, signal.SIGTERM)
            os.killpg(process.pid, signal.SIGTERM)
            said = process.communicate(timeout=100)[1]
        finally:
            process.kill()
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert "images are described and kept in" in said.splitlines()[-1]


def test_in_the_rounds_of_a_run(processes, tmp_path, stores, finished):
    command = ("retrieve", *SMALL, *places(tmp_path, stores))
    line = interrupted(processes, tmp_path, "rounds-0002", *command)
    assert line.startswith("interrupted: 2 finished rounds are kept in ")
    assert line.endswith(f"{finished[0].name}; the same command goes on from there")


def test_while_a_run_describes_images_it_is_the_images_that_count(processes, tmp_path):
    command = ("retrieve", *SMALL, *places(tmp_path / "runs", tmp_path / "stores"))
    line = interrupted(processes, tmp_path, "image 17.", *command)
    assert line.startswith("interrupted: 16 of 40 images are described and kept in ")


def test_while_regions_are_found(processes, tmp_path):
    command = (*DETECTED, *places(tmp_path / "runs", tmp_path / "stores"))
    line = interrupted(processes, tmp_path, "image 21.", *command)
    assert line.startswith("interrupted: regions of 20 of 40 images are kept in ")


def test_before_anything_is_begun(monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("seekloop.commands.composed.run_composed", stopped)
    outcome = seekloop("extract")
    assert (outcome.code, outcome.err) == (130, "interrupted\n")

import errno
import json
import multiprocessing
import os
import socket
import time

import pandas as pd
import pytest

from seekloop.artifacts import folder as claim_module
from seekloop.artifacts.folder import BusyError
from seekloop.logs.run_folder import RunState
from tests.logs.fakes import SUMMARY, asked_of, fill, rounds_of, run_folder


def contents(folder):
    kept = ("rounds.parquet", "asked.parquet", "summary.json", "queries.parquet", "config.yaml")
    return {name: (folder.path / name).read_bytes() for name in kept}


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def test_the_columns_come_back_as_they_were_given(tmp_path):
    folder = fill(run_folder(tmp_path / "run"))
    rounds, asked = folder.table("rounds"), folder.table("asked")
    expected = pd.concat([rounds_of(number) for number in range(4)], ignore_index=True)
    expected["precision"] = expected["precision"].astype(float)
    pd.testing.assert_frame_equal(rounds, expected, check_dtype=False)
    assert asked["relevant"].isna().sum() == 3 * 2 * 2
    assert asked["relevant"].sum() == 3 * 2 * 2
    assert list(asked["path"][:3]) == ["3.jpg", "4.jpg", "5.jpg"]
    assert asked.loc[0, ["x0", "y0", "x1", "y1"]].tolist() == [0.1, 0.2, 0.6, 0.9]
    assert asked.loc[1, ["x0"]].isna().all()
    assert folder.summary() == SUMMARY


def test_killed_at_any_write_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    expected = contents(fill(run_folder(tmp_path / "whole")))
    real, kills, state = os.replace, 0, RunState.MISSING
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for moment in range(100):
        folder = run_folder(tmp_path / f"killed-{moment}")
        left = iter(range(moment))  # that many files are moved into place, then the lights go out

        def replace(source, target, left=left):
            if next(left, None) is None:
                raise Killed
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)
        try:
            fill(folder)
            state = folder.state()
        except Killed:
            kills += 1
        monkeypatch.setattr(os, "replace", real)
        last = folder.last_step()
        assert len(folder.table("rounds")) == (0 if last is None else 4 * (last + 1))
        if state is RunState.DONE:
            break
        fill(folder)
        assert contents(folder) == expected
        assert not list(folder.path.rglob("*.tmp"))
    assert kills == 19  # heartbeat, config, queries, 4 rounds x 3 files, 3 merged files, COMPLETE


def test_a_part_newer_than_the_checkpoint_is_discarded(tmp_path):
    folder = fill(run_folder(tmp_path / "run"), until=1)
    orphan = folder.parts / "rounds-0002.parquet"
    orphan.write_bytes(b"half a round")
    assert folder.last_step() == 1
    with folder.claim():
        assert folder.resume() == (1, {"round": 1})
    assert not orphan.exists()


def test_rounds_follow_one_another(tmp_path):
    folder = fill(run_folder(tmp_path / "run"), until=1)
    with folder.claim(), pytest.raises(ValueError, match="round 3 cannot follow round 1"):
        folder.add(3, {"rounds": rounds_of(3), "asked": asked_of(3)}, None)


def test_a_missing_column_is_named(tmp_path):
    folder = run_folder(tmp_path / "run")
    with folder.claim(), pytest.raises(ValueError, match=r"lacks the columns \['ap'\]"):
        folder.add(0, {"rounds": rounds_of(0).drop(columns="ap"), "asked": asked_of(0)}, None)


def test_the_five_states(tmp_path):
    folder = run_folder(tmp_path / "run")
    assert folder.state() is RunState.MISSING
    with folder.claim():
        assert folder.state() is RunState.RUNNING
        assert run_folder(folder.path).state() is RunState.RUNNING
        folder.write_config("seed: 0\n")
    assert folder.state() is RunState.INTERRUPTED
    with pytest.raises(ValueError, match="two"), folder.claim():
        raise ValueError("grid=9x9 is\ntwo lines")
    assert folder.state() is RunState.FAILED
    assert folder.error() == "ValueError: grid=9x9 is two lines"
    fill(folder)
    assert folder.state() is RunState.DONE
    assert folder.error() is None


def test_ctrl_c_is_an_interruption_not_a_failure(tmp_path):
    folder = run_folder(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(KeyboardInterrupt), folder.claim():
        raise KeyboardInterrupt
    assert folder.state() is RunState.INTERRUPTED


def test_two_cannot_run_it(tmp_path):
    folder = run_folder(tmp_path / "run")
    busy = pytest.raises(BusyError, match=f"run by process {os.getpid()}")
    with folder.claim(), busy, run_folder(folder.path).claim():
        pass
    with folder.claim():
        pass


def _hold(path, ready):
    with run_folder(path).claim():
        ready.set()
        time.sleep(60)


def test_a_killed_process_is_seen_dead_at_once(tmp_path):
    context = multiprocessing.get_context("forkserver")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "run", ready))
    process.start()
    assert ready.wait(30)
    folder = run_folder(tmp_path / "run")
    assert folder.state() is RunState.RUNNING
    process.kill()
    process.join()
    assert folder.state() is not RunState.RUNNING
    with folder.claim():
        pass


def elsewhere(folder, seconds_ago):
    """Make it look as if another machine had been running it."""
    folder.path.mkdir(exist_ok=True)
    (folder.path / "config.yaml").write_text("seed: 0\n")
    beat = folder.path / "heartbeat"
    beat.write_text(json.dumps({"host": "node-7", "pid": 1234, "token": "theirs"}))
    os.utime(beat, (time.time() - seconds_ago,) * 2)


@pytest.mark.parametrize(("seconds_ago", "state"), [(5, RunState.RUNNING), (61, RunState.INTERRUPTED)])
def test_another_machine_is_alive_for_a_minute_after_its_last_beat(tmp_path, seconds_ago, state):
    folder = run_folder(tmp_path / "run")
    elsewhere(folder, seconds_ago)
    assert folder.state() is state


def test_a_fresh_beat_elsewhere_keeps_us_out_and_a_stale_one_does_not(tmp_path):
    folder = run_folder(tmp_path / "run")
    elsewhere(folder, 5)
    with pytest.raises(BusyError, match="process 1234 on node-7, last sign of life 5 s ago"), folder.claim():
        pass
    elsewhere(folder, 61)
    with folder.claim():
        assert folder.state() is RunState.RUNNING


def test_the_lock_of_a_machine_that_is_gone_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(claim_module, "PATIENCE_SECONDS", 0.1)
    gone, folder = run_folder(tmp_path / "run"), run_folder(tmp_path / "run")
    with gone.claim():
        elsewhere(folder, 61)  # the lock is still held, as a network file system may do
        with folder.claim():
            folder.write_config("seed: 1\n")
        with pytest.raises(BusyError, match="taken over"):
            gone.write_config("seed: 2\n")
    assert (folder.path / "config.yaml").read_text() == "seed: 1\n"


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(claim_module, "BEAT_SECONDS", 0.02)
    folder = run_folder(tmp_path / "run")
    with folder.claim():
        beat = folder.path / "heartbeat"
        assert json.loads(beat.read_text())["host"] == socket.gethostname()
        os.utime(beat, (0, 0))
        deadline = time.time() + 5
        while beat.stat().st_mtime == 0 and time.time() < deadline:
            time.sleep(0.01)
        assert time.time() - beat.stat().st_mtime < 5


def test_a_full_disk_says_so_and_keeps_the_rounds_before(tmp_path, monkeypatch):
    folder = fill(run_folder(tmp_path / "run"), until=1)
    expected = contents(fill(run_folder(tmp_path / "whole")))

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, folder.claim():
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="Free some space, or choose another runs_dir") as caught:
            folder.add(2, {"rounds": rounds_of(2), "asked": asked_of(2)}, None)
    assert caught.value.errno == errno.ENOSPC
    assert folder.last_step() == 1
    assert not list(folder.path.rglob("*.tmp"))
    fill(folder)
    assert contents(folder) == expected


def test_writing_needs_a_claim(tmp_path):
    folder = run_folder(tmp_path / "run")
    folder.path.mkdir()
    with pytest.raises(BusyError, match="not claimed"):
        folder.write_config("seed: 0\n")


def test_clear_forgets_everything(tmp_path):
    folder = fill(run_folder(tmp_path / "run"))
    (folder.path / "figures").mkdir()
    with folder.claim():
        folder.clear()
        assert sorted(entry.name for entry in folder.path.iterdir()) == ["heartbeat", "run.lock"]
    assert folder.state() is RunState.MISSING
    assert len(fill(folder).table("rounds")) == 16


def test_what_is_not_a_number_is_null(tmp_path):
    folder = fill(run_folder(tmp_path / "run"), until=0)
    with folder.claim():
        folder.finish({"map_auc": 0.5, "ap_large": float("nan"), "size_shares": {"small": float("inf"), "large": 0.1}})
    assert folder.summary() == {"map_auc": 0.5, "ap_large": None, "size_shares": {"small": None, "large": 0.1}}

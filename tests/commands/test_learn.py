"""`seekloop learn`, from the command line to its files."""

import json
import math
import os
import re
import signal

import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from seekloop.learning.kind import LEARNING
from seekloop.logs.run_folder import RunFolder, RunState
from tests.commands.runs import folder_of, refused, seekloop, worked

TABLES = ("cycles", "epochs", "classes", "confusion", "asked")
MODEL = "# A network for tests.\n_target_: tests.learning.worlds.Smalls\nname: small\nfrozen: false\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The beginning of a command line: a network of one convolution, two epochs of three batches, three cycles."""
    conf = tmp_path_factory.mktemp("conf")
    (conf / "model").mkdir()
    (conf / "model" / "small.yaml").write_text(MODEL)
    settings = ("training=quick", "training.epochs=2", "training.iterations=3", "training.horizon=3")
    sizes = ("dataset.images=150", "learning.cycles=3", "learning.budget=10", "accelerator=cpu")
    return ("learn", f"--config-dir={conf}", "model=small", *settings, *sizes, "wandb.mode=disabled")


def in_folder(folder):
    return (f"runs_dir={folder / 'runs'}", f"store_dir={folder / 'stores'}")


@pytest.fixture(scope="module")
def done(small, processes, tmp_path_factory):
    """A run with label propagation that was never disturbed, in a process with as many threads as those that are."""
    place = tmp_path_factory.mktemp("learn")
    command = (
        *small,
        "semi=thesis",
        "semi.warmup=0",
        "propagation.neighbours=5",
        "wandb.mode=offline",
        *in_folder(place),
    )
    process = processes.start(*command)
    assert process.wait() == 0, process.said()
    (run,) = (place / "runs" / "learning").iterdir()
    return RunFolder(run, LEARNING), command, process.said()


def tables(folder):
    """All that was found, without what a clock said."""
    return {name: folder.table(name).drop(columns="seconds", errors="ignore") for name in TABLES}


def test_what_a_run_leaves(done):
    folder, _, said = done
    assert folder.state() is RunState.DONE
    found = tables(folder)
    assert found["cycles"]["labels"].tolist() == [10, 20, 30]
    assert len(found["epochs"]) == 3 * 2
    assert found["epochs"]["iterations"].tolist() == [3] * 6
    assert found["epochs"]["pseudo_accuracy"].between(0, 1).all()
    assert found["asked"].groupby("cycle").size().tolist() == [10, 10]
    assert found["asked"]["image"].is_unique
    assert found["confusion"].groupby("cycle")["images"].sum().nunique() == 1
    summary = folder.summary()
    assert summary["accuracy_final"] == pytest.approx(found["cycles"]["accuracy"].iloc[-1])
    assert summary["iterations"] == 18
    names = {path.stem for path in (folder.path / "figures").glob("*.png")}
    assert names == {"accuracy", "epochs", "classes", "confusion", "asked"}
    assert "cycle 2/2: 30 labels" in said
    assert not folder.parts.exists()


def test_per_class_accuracy_adds_up_to_all(done):
    classes = done[0].table("classes")
    by_cycle = (classes["accuracy"] * classes["images"]).groupby(classes["cycle"]).sum()
    total = classes.groupby("cycle")["images"].sum()
    assert (by_cycle / total).tolist() == pytest.approx(done[0].table("cycles")["accuracy"].tolist())
    assert classes[classes["cycle"] == 0]["labels"].tolist() == [1] * 10


def test_asked_again_it_is_found_finished(done):
    folder, command, _ = done
    outcome = worked(seekloop(*command))
    assert (
        f"accuracy_final {folder.summary()['accuracy_final']:.4f}: {folder.path} (force=true runs it again)"
        in outcome.out
    )


@pytest.mark.parametrize(
    "moment", ["parts/epochs.json", "cycles-0001", pytest.param("summary.json", marks=pytest.mark.slow)]
)
def test_killed_it_goes_on_and_ends_the_same(done, processes, tmp_path, moment):
    """A real kill -9: after an epoch, while a cycle is written, and while the end is. One epoch is lost at most."""
    folder, command, _ = done
    again = (*(word for word in command if "_dir=" not in word and "wandb" not in word), "wandb.mode=disabled")
    killed = processes.start(*again, *in_folder(tmp_path), kill_at=moment)
    assert killed.wait() == -9
    (run,) = (tmp_path / "runs" / "learning").iterdir()
    assert RunFolder(run, LEARNING).state() is RunState.INTERRUPTED
    kept = torch.load(run / "parts" / "epoch.pt", weights_only=True)
    reached = {"parts/epochs.json": (0, 1), "cycles-0001": (1, 2), "summary.json": (2, 2)}
    assert (kept["cycle"], kept["epoch"]) == reached[moment]
    resumed = processes.start(*again, *in_folder(tmp_path))
    assert resumed.wait() == 0, resumed.said()
    assert run.name == folder.path.name
    expected = tables(folder)
    for name, table in tables(RunFolder(run, LEARNING)).items():
        pd.testing.assert_frame_equal(table, expected[name])


@pytest.mark.parametrize(
    ("moment", "kept"),
    [
        ("parts/epoch.pt", r"0 finished cycles are kept in \S+"),
        ("cycles-0001", r"1 finished cycle is kept in \S+, and 2 of the next one's epochs"),
    ],
)
def test_ctrl_c_in_the_middle_of_training_and_between_two_cycles(done, processes, tmp_path, moment, kept):
    _, command, _ = done
    again = (*(word for word in command if "_dir=" not in word and "wandb" not in word), "wandb.mode=disabled")
    stopped = processes.start(*again, *in_folder(tmp_path), wait_at=moment, gate=tmp_path / "never")
    stopped.until_said("waiting at")
    os.kill(stopped.pid, signal.SIGINT)
    assert stopped.wait() == 130, stopped.said()
    line = stopped.said().splitlines()[-1]
    assert re.fullmatch(rf"interrupted: {kept}; the same command goes on from there", line), stopped.said()
    assert "Traceback" not in stopped.said()


def test_a_checkpoint_of_other_settings_is_refused(done, processes, tmp_path):
    _, command, _ = done
    again = (*(word for word in command if "_dir=" not in word and "wandb" not in word), "wandb.mode=disabled")
    assert processes.start(*again, *in_folder(tmp_path), kill_at="cycles-0001").wait() == -9
    (run,) = (tmp_path / "runs" / "learning").iterdir()
    other = (*again, "seed=1", *in_folder(tmp_path))
    started = processes.start(*other, kill_at="parts/epoch.pt")
    assert started.wait() == -9
    (second,) = [path for path in (tmp_path / "runs" / "learning").iterdir() if path != run and path.is_dir()]
    (run / "parts" / "state-0000.pt").rename(second / "parts" / "state-0000.pt")
    for name in TABLES:
        (run / "parts" / f"{name}-0000.parquet").rename(second / "parts" / f"{name}-0000.parquet")
    said = refused(seekloop(*other))
    assert f"holds a checkpoint of {run.name}, which had other settings. force=true starts anew" in said


def test_status_and_report(small, tmp_path):
    """Two splits of one setting are one row of the report, with a mean and a deviation."""
    command = (*small, *in_folder(tmp_path))
    for split in (0, 1):
        worked(seekloop(*command, f"split={split}"))
    worked(seekloop(*command, "criterion=entropy"))
    status = worked(seekloop("status", str(tmp_path / "runs")))
    assert "3 runs: 3 done" in status.out
    assert "cycles" in status.out
    assert "map_auc" not in status.out
    report = worked(seekloop("report", str(tmp_path / "runs")))
    assert "accuracy_final" in report.out
    table = pd.read_csv(tmp_path / "runs" / "report.csv")
    assert table["criterion"].tolist() == ["entropy", "random"]
    assert table["runs"].tolist() == [1, 2]
    assert table["accuracy_20_std"].isna().tolist() == [True, False]
    assert "accuracy_30" in (tmp_path / "runs" / "report.md").read_text()
    assert "have none" in refused(seekloop("report", str(tmp_path / "runs"), "compare=criterion:random,entropy"))


def test_wandb_has_epochs_and_cycles(done):
    from tests.logs.wandb_file import Logged

    folder = done[0]
    logged = Logged(folder.path)
    assert logged.curve("accuracy") == pytest.approx(folder.table("cycles")["accuracy"].tolist())
    assert logged.curve("labels")[:3] == [10, 20, 30]
    assert logged.metrics["accuracy"] == "labels"
    assert logged.curve("epoch/loss") == pytest.approx(folder.table("epochs")["loss"].tolist())
    assert logged.summary["accuracy_auc"] == pytest.approx(folder.summary()["accuracy_auc"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("learning.initial=5",), "learning.initial=5 cannot work: 10 classes cannot all have a label"),
        (("learning.budget=100", "learning.initial=10"), "At most 70 would fit"),
        (("training.lr=1e30",), "training.lr=1e+30 cannot work: the loss is"),
        (("semi=thesis", "criterion=ceal", "dataset=mnist"), "this criterion has pseudo-labels of its own"),
        (("learning.budget=ten",), "learning.budget='ten' cannot work: it is no whole number"),
        (("accelerator=tpu",), "accelerator='tpu' cannot work"),
        (("semi=thesis", "semi.labelled=128"), "semi.labelled=128 cannot work"),
    ],
)
def test_what_cannot_work_is_said(small, tmp_path, words, says):
    assert says in refused(seekloop(*small, *in_folder(tmp_path), *words))


def test_a_failed_run_is_told_by_status(small, tmp_path):
    assert seekloop(*small, *in_folder(tmp_path), "training.lr=1e30").code == 1
    assert "1 run: 1 failed" in worked(seekloop("status", str(tmp_path / "runs"))).out


@pytest.mark.parametrize("criterion", ["ceal", "jlp"])
def test_criteria_of_classification(small, tmp_path, criterion):
    """Each asks for what it says; the summary is in order."""
    outcome = worked(seekloop(*small, *in_folder(tmp_path), f"criterion={criterion}", "learning.cycles=2"))
    summary = json.loads((folder_of(outcome) / "summary.json").read_text())
    assert summary["labels_final"] == 20
    assert math.isfinite(summary["accuracy_auc"])


@pytest.fixture(scope="module")
def two_runs(small, tmp_path_factory):
    """Of the criteria entropy and random, two cycles each."""
    place = tmp_path_factory.mktemp("agreement")
    command = (*small, *in_folder(place), "keep_views=true", "propagation.neighbours=5", "learning.cycles=2")
    for criterion in ("entropy", "random"):
        worked(seekloop(*command, f"criterion={criterion}"))
    return sorted((place / "runs" / "learning").iterdir())


def test_criteria_choose_from_one_network(two_runs):
    """In cycle 0, too, where runs of two criteria are the same network; the run's own criterion chooses as it did."""
    run = two_runs[0]
    worked(seekloop("agreement", str(run), "criterion=entropy,random,least_confidence", "cycle=0", "shown=1"))
    place = run.parent / "agreement" / f"{run.name}_cycle_0"
    table, ranked = pd.read_csv(place / "agreement.csv"), pd.read_csv(place / "ranks.csv")
    pairs = [("entropy", "random"), ("entropy", "least_confidence"), ("random", "least_confidence")]
    assert list(zip(table["one"], table["other"], strict=True)) == pairs
    asked = RunFolder(run, LEARNING).table("asked").query("cycle == 0").sort_values("order")["image"]
    assert ranked.sort_values("entropy")["image"].head(10).tolist() == asked.tolist()
    for name in ("entropy", "random", "least_confidence"):
        assert sorted(ranked[name]) == list(range(140))  # 150 images, 10 of them labelled
    first = {name: set(ranked.loc[ranked[name] < 10, "image"]) for name in ("entropy", "least_confidence")}
    assert table.loc[1, "chosen_by_both"] == pytest.approx(len(first["entropy"] & first["least_confidence"]) / 10)
    assert 0 < table.loc[1, "images"] <= 140 - len(first["entropy"] | first["least_confidence"])
    correlations = [spearmanr(ranked[one], ranked[other]).statistic for one, other in pairs]
    assert table["rank_correlation"].tolist() == pytest.approx(correlations)
    assert table["agree"].between(0.01, 0.99).all()  # equal throughout if labels spread without the choices
    assert (place / "ranks.png").exists()


def test_networks_of_several_runs_are_compared_by_their_predictions(two_runs):
    worked(seekloop("agreement", *map(str, two_runs)))
    (place,) = [path for path in (two_runs[0].parent / "agreement").iterdir() if path.name.endswith("_cycle_1")]
    row = pd.read_csv(place / "trained.csv").iloc[0]
    one, other = (RunFolder(run, LEARNING).view(1) for run in two_runs)
    unknown = (one["labels"] < 0) & (other["labels"] < 0)
    alike = one["probabilities"].argmax(dim=1) == other["probabilities"].argmax(dim=1)
    assert row["images"] == int(unknown.sum())
    assert row["agree"] == pytest.approx(float(alike[unknown].double().mean()))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0, "criterion=entropy"), "criterion='entropy' cannot work: there is nothing to compare"),
        ((0, "criterion=entropy,random", "cycle=x"), "cycle='x' cannot work: it is no whole number"),
        ((0, "criterion=entropy,random", "shown=5"), "shown='5' cannot work: it is no share"),
        ((0, "criterion=entropy,random", "cycle=7"), "keep_views=true"),
        ((0, 1, "cycle=0"), "cycle=0 cannot work: all networks of cycle 0 have the same labels"),
        ((0, 1, "criterion=entropy,random"), "several runs are compared by what their networks predict"),
    ],
)
def test_what_cannot_be_compared_is_refused(two_runs, words, expected):
    command = [str(two_runs[word]) if isinstance(word, int) else word for word in words]
    assert expected in refused(seekloop("agreement", *command))

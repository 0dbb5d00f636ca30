"""A rule from the command line: how it is typed, where searches stop, and what says so."""

import json

import pandas as pd
import pytest

from seekloop.commands.compose import resolve
from seekloop.commands.groups import by_groups
from seekloop.commands.python import simulate
from seekloop.commands.simulated import stop_rule
from seekloop.criteria.scores import Random, Top
from seekloop.loop.stopping import AllOf, AnyOf, Recall, WithoutFind
from tests.commands.runs import SMALL, folder_of, places, refused, seekloop, worked
from tests.worlds import blobs


def test_a_run_says_where_its_searches_stopped(finished, tmp_path, stores):
    """Two misses in a row stop a search. What was asked before is what the run without a rule asked."""
    rule = ("loop.stop=without_find", "loop.stop.answers=2")
    outcome = worked(seekloop("retrieve", *SMALL, *rule, *places(tmp_path, stores)))
    folder = folder_of(outcome)
    assert "-without_find-s0-" in folder.name
    rounds, summary = pd.read_parquet(folder / "rounds.parquet"), json.loads((folder / "summary.json").read_text())
    stopped = rounds[rounds["stopped"] == 1].groupby("class_name")[["round", "labels", "recall"]].min()
    assert summary["share_stopped"] == len(stopped) / 2 > 0
    found = [summary[f"stop_{name}"] for name in ("round", "labels", "recall")]
    assert found == pytest.approx(stopped.mean().tolist())
    assert f"the rule stopped {len(stopped)} of 2 searches, on average after {found[1]:.0f} labels" in outcome.out
    plain = pd.read_parquet(finished[0] / "asked.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "asked.parquet"), plain[plain["round"] <= rounds["round"].max()]
    )
    assert "stopped" not in pd.read_parquet(finished[0] / "rounds.parquet")
    assert "already finished" in worked(seekloop("retrieve", *SMALL, *rule, *places(tmp_path, stores))).out


def test_a_rule_is_a_group_inside_the_loops_keys_and_may_be_typed_as_one_of_them():
    words = ["loop.stop=recall", "loop.stop.goal=0.9", "loop.rounds=3"]
    assert by_groups(words) == ["loop/stop=recall", "loop.stop.goal=0.9", "loop.rounds=3"]
    assert stop_rule(resolve("retrieve", by_groups(words)), Top()) == Recall("platt", 0.9, 0.95)
    assert stop_rule(resolve("retrieve", []), Top()) is None


def test_rules_are_composed_of_rules():
    typed = ["loop/stop=any_of", "loop.stop.first.estimator=chao", "loop.stop.then.answers=7"]
    assert stop_rule(resolve("retrieve", typed), Top()) == AnyOf(Recall("chao"), WithoutFind(7))
    typed = ["loop/stop=all_of", "loop/stop@loop.stop.first=without_find"]
    assert stop_rule(resolve("retrieve", typed), Top()) == AllOf(WithoutFind(), WithoutFind())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("loop.stop=recall", "loop.stop.goal=2"), "loop.stop.goal=2 cannot work (conf/loop/stop/recall.yaml)"),
        (("loop.stop=recall", "loop.stop.estimator=sample"), "loop.stop='Recall' cannot work: it never says stop"),
        (("loop.stop=any_of", "loop.stop.then.answers=0"), "loop.stop.then.answers=0 cannot work"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(words, told, tmp_path, stores):
    assert told.partition(" (conf")[0] in refused(seekloop("retrieve", *SMALL, *words, *places(tmp_path, stores)))


def test_a_sample_is_a_rule_for_random_questions():
    typed = resolve("retrieve", ["loop/stop=recall", "loop.stop.estimator=sample", "criterion=random"])
    assert stop_rule(typed, Random()) == Recall("sample")


def test_a_simulation_from_python_stops_as_well():
    world = blobs(images=60, dim=8)
    words = ("representation=go", "loop.queries=2", "loop.rounds=8", "loop.budget=4")
    rounds = simulate(world.descriptors, world.annotations, *words, "loop.stop=without_find", "loop.stop.answers=3")
    assert rounds["round"].max() < 8
    assert rounds[rounds["round"] == rounds["round"].max()]["stopped"].tolist() == [1.0, 1.0]
    assert "stopped" not in simulate(world.descriptors, world.annotations, *words)

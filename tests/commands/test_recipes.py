"""What makes two runs one, and one run two: recipes are asked of the parts, never of a list of config keys."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from hydra.utils import instantiate
from PIL import Image

from seekloop.commands import recipes
from seekloop.commands.compose import loop_parts, resolve
from seekloop.commands.configs import load_entry
from seekloop.commands.extract import prepare
from seekloop.commands.learn import parts_of
from seekloop.commands.parts import build
from seekloop.commands.retrieve import simulated_user
from seekloop.commands.simulated import simulation_of, stop_rule
from seekloop.contracts.recipe import Recipe, settings
from tests.commands.runs import EXTRACTED, SMALL, folder_of, places, seekloop, worked


def recipe_of(*overrides):
    """The recipe of a run of `retrieve`, and the words of its name."""
    config = resolve("retrieve", [*SMALL, *overrides])
    parts, extraction = loop_parts(config), prepare(config)
    user, rule = simulated_user(config, parts, extraction.collection.annotations), stop_rule(config, parts.criterion)
    return recipes.retrieval(parts, simulation_of(config), user, extraction.plan, rule=rule)


@pytest.fixture(scope="module")
def plain():
    return recipe_of()


@pytest.mark.parametrize(
    "change",
    ["classifier.threads=1", "engine.memory=1", "engine=cpu", "trainer.workers=1", "store.shard=8",
     "wandb.mode=offline", "runs_dir=elsewhere", "store_dir=elsewhere", "experiment_name=other", "force=true",
     "store.fail_fast=true"],
)  # fmt: skip
def test_what_cannot_change_a_result_is_no_part_of_it(plain, change):
    assert recipe_of(change).key == plain.key


@pytest.mark.parametrize(
    "change",
    ["seed=1", "grid=2x2", "loop.queries=2", "loop.budget=2", "loop.rounds=2", "loop.classes=['1']", "loop.negatives=4",
     "metrics.clusters=5", "criterion=top", "classifier.cost=2", "classifier=svm_sklearn",
     "representation/local=one_proto", "representation/fusion=concat", "user.missed=0.1",
     "prior=similarity", "engine.precision=float64", "loop/stop=recall",
     "trainer.batch_size=4", "pooling=mean", "collection.seed=1", "store.dtype=float32", "regions.finest=8x8"],
)  # fmt: skip
def test_what_changes_a_result_is_a_part_of_it(plain, change):
    assert recipe_of(change).key != plain.key


def test_a_grid_counts_only_where_regions_are_read():
    """GO reads global descriptors: another grid, stored or not, is the same run."""
    keys = {recipe_of("representation=go", grid).key for grid in ("grid=4x4", "grid=2x2", "grid=3x3")}
    assert len(keys) == 1
    assert len({recipe_of("representation=lo_all", grid).key for grid in ("grid=4x4", "grid=2x2")}) == 2


def test_go_over_two_grids_runs_once(tmp_path, stores):
    command = ("retrieve", *SMALL, *places(tmp_path / "runs", stores), "representation=go", "loop.rounds=1")
    first = worked(seekloop(*command, "grid=4x4"))
    assert folder_of(first).name.startswith("none-none-uncertainty-s0-")
    assert "already finished" in worked(seekloop(*command, "grid=2x2")).out


def test_runs_are_named_by_what_they_read():
    config = resolve("retrieve", [*SMALL, "grid=1x1+2x2"])
    parts, plan = loop_parts(config), prepare(config).plan
    words = recipes.retrieval_words(parts, config, plan)
    assert (words[2], words[-1]) == ("1x1+2x2", "s0")
    assert recipes.named(["all", "1x1+2x2", None, "s0"], recipe_of()).startswith("all-1x1_2x2-s0-")


COMPONENT = """
from dataclasses import dataclass
from seekloop.criteria.selection import lowest

@dataclass(frozen=True)
class Mine:
    below: float
    def __call__(self, view, budget, rngs):
        return lowest({sign}view.scores, view.candidate, budget)
"""


def test_a_repaired_component_is_run_again(tmp_path, stores, monkeypatch):
    """Before, the same command said `already finished` with the numbers of the broken one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "criterion").mkdir()
    (tmp_path / "mine" / "criterion" / "mine.yaml").write_text("_target_: own_criterion.Mine\nbelow: 1.0\n")
    command = ("retrieve", "--config-dir", str(tmp_path / "mine"), *SMALL, *places(tmp_path / "runs", stores))
    folders = []
    for sign in ("", "", "-"):
        (tmp_path / "own_criterion.py").write_text(COMPONENT.format(sign=sign))
        sys.modules.pop("own_criterion", None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        folders.append(worked(seekloop(*command, "criterion=mine", "loop.rounds=1")))
    assert "already finished" in folders[1].out
    assert "already finished" not in folders[2].out
    assert folder_of(folders[0]) != folder_of(folders[2])


@pytest.mark.parametrize("command", ["search", "detect"])
def test_how_many_pictures_are_drawn_is_no_part_of_a_run(command):
    def key(*overrides):
        config = resolve(command, [*EXTRACTED, "regions=grid", *overrides])
        collection, plan = build(config, "collection"), prepare(config).plan
        if command == "search":
            return recipes.instance_search(config, build(config, "instances"), plan).key
        return recipes.detection(config, collection, build(config, "regions").parts(collection, poolable=False)).key

    assert key(f"{command}.shown=1") == key()
    assert key("search.kept=7" if command == "search" else "detect.threshold=0.7") != key()


def learning_recipe(*overrides):
    return parts_of(resolve("learn", ["accelerator=cpu", "dataset=digits", "training=quick", *overrides])).recipe


def test_learning_counts_what_it_uses():
    plain = learning_recipe()
    assert learning_recipe("propagation.neighbours=3").key == plain.key  # semi=none propagates nothing
    assert learning_recipe("semi=quick").key != learning_recipe("semi=quick", "propagation.neighbours=3").key
    for change in (
        "split=1",
        "seed=1",
        "criterion=entropy",
        "training.lr=0.3",
        "learning.budget=5",
        "dataset.images=200",
    ):
        assert learning_recipe(change).key != plain.key, change
    for change in ("keep_views=true", "runs_dir=elsewhere"):
        assert learning_recipe(change).key == plain.key, change
    pretrained = learning_recipe("pretraining=quick")
    assert [one.kind for one in pretrained.inputs] == ["dataset", "weights"]
    assert pretrained.key == learning_recipe("pretraining=quick", "pretraining.accelerator=gpu").key


GROUPS = ["criterion", "classifier", "representation/local", "representation/fusion", "pooling", "encoding", "detector"]
GROUPS += ["training", "propagation", "whitening"]


@pytest.mark.parametrize("group", GROUPS)
def test_every_component_of_ours_says_what_it_depends_on(group):
    """Twice the same, and no part of it unknown."""
    entries = sorted((Path(__file__).parents[2] / "conf" / group).glob("*.yaml"))
    for entry in entries:
        config = load_entry(entry)
        if "_target_" not in config or entry.stem == "svm_cuml" or "${" in str(config) or "???" in str(config):
            continue
        first, second = (settings(instantiate(config, _recursive_=True)) for _ in range(2))
        assert first == second, entry
        assert "unknown" not in str(first), entry
        assert "class" in first


def test_what_lvis_says_of_classes_counts_in_a_search_by_words(tmp_path):
    """Same pictures and same boxes: what is wrong, what is unknown, what is rare differs by LVIS's file alone."""
    (tmp_path / "val2017").mkdir()
    for number in (1, 2, 3):
        Image.new("RGB", (20, 20)).save(tmp_path / "val2017" / f"{number}.jpg")

    def key(*absent, frequency="r"):
        images = [
            {"id": n, "coco_url": f"http://x/val2017/{n}.jpg", "neg_category_ids": [5] * (n in absent)}
            for n in (1, 2, 3)
        ]
        objects = [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [0, 0, 9, 9]}]
        content = {
            "images": images,
            "annotations": objects,
            "categories": [{"id": 5, "name": "cat", "frequency": frequency}],
        }
        (tmp_path / "lvis_v1_val.json").write_text(json.dumps(content))
        config = resolve("search", ["instances=class_names", "collection=lvis", f"collection.root={tmp_path}"])
        instances, words = build(config, "instances"), Recipe("text", {"words": ["cat"]})
        plan = prepare(config, instances.database).plan
        return recipes.instance_search(config, instances, plan, None, words).key

    assert len({key(2), key(3), key(2, 3), key(2, frequency="f")}) == 4
    assert key(2) == key(2)

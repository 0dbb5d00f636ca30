"""`regions=egm` on the built-in scenes: detect, retrieve and search take it like any other regions."""

import json

import pandas as pd
import pytest
import torch

from seekloop.commands.compose import resolve
from seekloop.commands.extract import build_regions, prepare
from seekloop.extraction.discover import Discovery
from seekloop.store.reader import open_store
from tests.commands.runs import places, seekloop, worked
from tests.commands.test_search_detect import only_run

SCENES = ("collection=scenes", "collection.images=12", "trainer.jobs=1", "trainer.workers=0")
EGM = ("regions=egm", "backbone@regions.backbone=tiny", "regions.shortest=16", "regions.longest=16")
FIGURES = {"recall", "regions", "saliency", "evolution"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Stores are shared by the tests of this file."""
    return tmp_path_factory.mktemp("discovery")


@pytest.mark.parametrize(("saliency", "more"), [("feature", set()), ("object", {"central", "patch"})])
def test_detect_measures_and_draws_discovered_regions(ground, saliency, more):
    where = places(ground / saliency, ground / "stores")
    words = (*SCENES, *EGM, f"regions.saliency={saliency}", "detect.shown=1", *where, "wandb.mode=disabled")
    told = worked(seekloop("detect", *words))
    folder = only_run(ground / saliency)
    summary, images = json.loads((folder / "summary.json").read_text()), pd.read_parquet(folder / "images.parquet")
    assert summary["saliency_precision"] == pytest.approx(images["saliency_precision"].mean())
    assert 0 < summary["saliency_precision"] < 1
    assert summary["without_saliency"] == 0
    assert {path.stem for path in (folder / "figures").glob("*.png")} == FIGURES | more
    assert "saliency_precision" in told.out + told.err


def test_sums_of_discovered_regions_are_global_descriptors_of_the_loop(ground):
    """They depend on the regions, so a run over global descriptors alone is another one for other regions."""
    where = places(ground / "loop", ground / "stores")
    words = (*SCENES, *EGM, "backbone=tiny", "encoding=roi", "encoding.global_=regions")
    loop = ("loop.queries=1", "loop.rounds=1", "loop.budget=3", "representation=go", "metrics.clusters=4")
    worked(seekloop("retrieve", *words, *loop, *where, "metrics.clusterings=2", "wandb.mode=disabled"))
    assert pd.read_parquet(only_run(ground / "loop") / "rounds.parquet")["ap"].between(0, 1).all()
    words += (where[1],)
    plan = prepare(resolve("extract", words)).plan
    assert plan.recipe(local=False) == plan.recipe(local=True)
    apart = prepare(resolve("extract", (*words, "encoding.global_=map"))).plan
    assert apart.recipe(local=False).inputs == ()
    block = open_store(plan.folder, None).read(torch.arange(12), local=True)
    sums = torch.zeros(12, block.local.shape[1]).index_add_(0, block.owner, block.local)
    torch.testing.assert_close(block.global_, torch.nn.functional.normalize(sums, dim=1), atol=2e-3, rtol=0)


def test_search_takes_them(ground):
    where = places(ground / "search", ground / "stores")
    words = (*SCENES, *EGM, "backbone=tiny", "encoding=roi", "instances.queries=1", "search.shown=0", *where)
    worked(seekloop("search", *words, "wandb.mode=disabled"))
    assert pd.read_parquet(only_run(ground / "search") / "results.parquet")["ap"].between(0, 1).all()


def test_the_stage_is_built_from_the_config():
    stage = build_regions(
        resolve("detect", (*SCENES, *EGM, "regions.centrality=pagerank", "regions.objects.nearest=4"))
    )
    assert isinstance(stage, Discovery)
    assert (stage.regions.centrality, stage.regions.objects.nearest) == ("pagerank", 4)
    assert (stage.regions.salient.power, stage.regions.mixture.power) == (7.0, 2.0)


def test_another_detector_is_refused_with_what_to_type():
    told = seekloop("detect", *SCENES, *EGM, "detector@regions.detector=lost")
    assert told.code
    assert "no feature saliency" in told.err + told.out

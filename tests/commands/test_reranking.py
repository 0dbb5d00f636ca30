"""Searches and loops whose ranking ends in a re-ranker, on the built-in scenes with the built-in network."""

import json

import pandas as pd
import pytest
import torch

import seekloop as seekloop_api
from seekloop.commands.compose import resolve
from seekloop.commands.extract import prepare
from seekloop.commands.parts import build
from seekloop.commands.reranking import reranking_of
from seekloop.contracts.errors import ConfigError
from seekloop.extraction.describe import ensure
from seekloop.store.reader import open_store
from tests.commands.runs import places, refused, seekloop, worked

SCENES = ("collection=scenes", "collection.images=24", "trainer.jobs=1", "trainer.workers=0", "wandb.mode=disabled")
WHOLE = ("regions=grid", "grid=1x1", "pooling=gem", "search.against=whole", "search.query=crop", "instances.queries=1")
SMALL = ("features.sample=8", "features.settings.most=400")


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Stores are shared by the tests of this file."""
    return tmp_path_factory.mktemp("reranking")


def run(ground, name, command, *settings):
    worked(seekloop(command, *settings, *places(ground / name, ground / "stores")))
    (folder,) = [path.parent for path in (ground / name).rglob("COMPLETE")]
    return folder


def rankings(folder):
    return pd.read_parquet(folder / "ranking.parquet").set_index(["query", "rank"])["image"]


def test_a_verified_search_orders_its_top_by_inliers_and_draws_them(ground):
    settings = (*SCENES, *WHOLE, *SMALL)
    plain = rankings(run(ground, "plain", "search", *settings))
    folder = run(ground, "spatial", "search", *settings, "reranker=spatial", "reranker.top=6")
    found = rankings(folder)
    for query, images in found.groupby("query"):
        assert set(images.head(6)) == set(plain[query].head(6))  # the top keeps its images
        assert images.iloc[6:].tolist() == plain[query].iloc[6:].tolist()
    assert list(found) != list(plain)
    assert (folder / "figures" / "inliers.png").stat().st_size > 5_000
    assert (folder / "figures" / "matches_1.png").stat().st_size > 5_000
    pairs = pd.read_parquet(folder / "verified.parquet")
    assert (pairs["inliers"] >= 3).all()
    assert pairs[["m00", "m11"]].notna().all(axis=None)
    ranks = found.reset_index().merge(pairs, on=["query", "image"]).sort_values(["query", "rank"])
    assert all(rows["inliers"].is_monotonic_decreasing for _, rows in ranks.groupby("query"))
    kinds = {path.name.split("-")[0] for path in (ground / "stores").iterdir() if path.is_dir()}
    assert {"scenes_features_database", "scenes_queries_features_query"} <= kinds


@pytest.mark.parametrize("reranker", ["expansion", "diffusion", "spatial_expansion", "spatial_diffusion"])
def test_each_reranker_makes_a_run_of_its_own(ground, reranker):
    settings = (*SCENES, *WHOLE, *SMALL, f"reranker={reranker}")
    folder = run(ground, reranker, "search", *settings)
    assert json.loads((folder / "summary.json").read_text())["map_all"] > 0
    images = rankings(folder)
    assert all(sorted(rows) == sorted(set(rows)) for _, rows in images.groupby("query"))
    graphs = [path for path in (ground / "stores").iterdir() if "graph" in path.name and path.is_dir()]
    assert bool(graphs) >= ("diffusion" in reranker)


def test_the_loop_is_measured_on_the_ranking_that_is_shown(ground):
    """Questions are the same; only what is measured differs."""
    loop = ("loop.queries=1", "loop.rounds=2", "loop.budget=3", "metrics.clusterings=1")
    settings = (*SCENES, "grid=1x1", "pooling=gem", "representation=go", *loop)
    plain = run(ground, "loop", "retrieve", *settings)
    again = run(ground, "loop_diffused", "retrieve", *settings, "reranker=diffusion", "reranker.neighbours=5")
    asked = [pd.read_parquet(folder / "asked.parquet") for folder in (plain, again)]
    pd.testing.assert_frame_equal(asked[0], asked[1])
    rounds = [pd.read_parquet(folder / "rounds.parquet") for folder in (plain, again)]
    assert (rounds[0]["coverage"] == rounds[1]["coverage"]).all()
    assert not (rounds[0]["ap"] == rounds[1]["ap"]).all()


def test_words_are_diffused_from_their_vector(ground):
    words = ("a small red seven", "collection=scenes", "collection.images=24", "search.against=whole")
    settings = (*words, "trainer.workers=0", "wandb.mode=disabled", "reranker=diffusion", "reranker.neighbours=5")
    folder = run(ground, "words", "search", *settings)
    table = pd.read_parquet(folder / "ranking.parquet")
    assert table["score"].is_monotonic_decreasing
    assert sorted(table["image"]) == list(range(24))


def test_expansion_of_regions_is_refused_before_anything_is_described(tmp_path):
    ran = seekloop("search", *SCENES, "reranker=expansion", *places(tmp_path / "runs", tmp_path / "stores"))
    assert "Use search.against=whole" in refused(ran)


def test_verified_starts_need_a_verification(ground):
    where = places(ground / "alone", ground / "stores")
    ran = seekloop("search", *SCENES, *WHOLE, "reranker=diffusion", "reranker.start=verified", *where)
    assert "nothing was verified" in refused(ran)


def test_recipes_tell_rerankers_and_features_apart(ground):
    def recipe(*more):
        config = resolve("search", [*SCENES, *WHOLE, *places(ground / "r", ground / "stores"), *more])
        extraction = prepare(config, build(config, "collection"))
        chosen = reranking_of(config, extraction, by_region=False)
        return None if chosen is None else chosen.recipe.key

    keys = [
        recipe("reranker=diffusion"),
        recipe("reranker=spatial"),
        recipe("reranker=spatial", "features.settings.most=7"),
        recipe("reranker=spatial", "reranker.top=7"),
    ]
    assert len(set(keys)) == 4
    assert recipe() is None
    assert recipe("features.settings.most=7", "reranker=diffusion") == keys[0]  # features that nothing reads
    config = resolve("search", [*SCENES, *WHOLE, *places(ground / "r", ground / "stores")])
    store = open_store(ensure(prepare(config, build(config, "collection")), lambda _: None), None)
    assert store.images == 24


def test_a_persons_session_is_reranked_from_python():
    rows = torch.nn.functional.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    described, loop = seekloop_api.describe(rows.numpy()), ["representation=go", "loop.budget=4"]
    plain, again = (
        seekloop_api.session(described, 0, [*loop, *more])
        for more in ((), ("reranker=diffusion", "reranker.neighbours=4"))
    )
    assert plain.ranking() != again.ranking()
    assert torch.equal(plain.scores, again.scores)
    with pytest.raises(ConfigError, match="these descriptors know none"):
        seekloop_api.session(described, 0, [*loop, "reranker=spatial"])


def test_regions_of_a_query_are_cross_matched(tmp_path):
    """From the stores: the sum over the cells of the crop of their highest cosine with any cell of the image."""
    settings = (*SCENES, "grid=2x2", "search.query=regions", "instances.queries=1", "regions.finest=2x2")
    worked(seekloop("search", *settings, *places(tmp_path / "runs", tmp_path / "stores")))
    (table,) = [pd.read_parquet(path) for path in (tmp_path / "runs").rglob("ranking.parquet")]
    table = table.query("query == 0")
    stores = {path.parent.name: open_store(path.parent, "2x2") for path in tmp_path.rglob("manifest.json")}
    (asked,), (searched,) = (
        [store for name, store in stores.items() if ("crops" in name) is crops] for crops in (True, False)
    )
    cells = asked.read(torch.tensor([0]), local=True).local
    highest = (cells @ searched.read(torch.arange(24), local=True).local.T).reshape(4, 24, 4).amax(dim=2)
    for row in table.itertuples():
        assert row.score == pytest.approx(float(highest.sum(dim=0)[row.image]), abs=1e-3)


def test_regions_of_a_query_need_regions_and_a_grid(ground):
    where = places(ground / "crossed", ground / "stores")
    ran = seekloop("search", *SCENES, "search.query=regions", "search.against=whole", *where)
    assert "search.against=regions" in refused(ran)
    ran = seekloop("search", *SCENES, "regions=claid", "backbone@regions.backbone=tiny", "search.query=regions", *where)
    assert "Use regions=grid" in refused(ran)


def test_feedback_has_no_reranker(ground):
    where = places(ground / "feedback", ground / "stores")
    chosen = ("feedback=simulated", "search.query=image", "search.against=whole", "reranker=diffusion")
    assert "Use reranker=none" in refused(seekloop("search", *SCENES, *chosen, *where))


def test_joined_queries_are_verified_with_all_their_pictures(ground):
    settings = (*SCENES, *WHOLE[:-1], *SMALL, "instances.queries=2", "search.join=true", "reranker=spatial")
    folder = run(ground, "joined", "search", *settings)
    pairs = pd.read_parquet(folder / "verified.parquet")
    names = pd.read_parquet(folder / "results.parquet").drop_duplicates("query")
    assert pairs["query"].max() < len(names)
    assert (pairs.groupby("query")["example"].nunique() > 1).any()
    assert (folder / "figures" / "matches_1.png").exists()

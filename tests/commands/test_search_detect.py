"""`seekloop search` and `seekloop detect` on the built-in scenes with the built-in backbone."""

import json
import shutil
import signal

import pandas as pd
import pytest
import torch
from hydra.utils import instantiate

from seekloop.commands.compose import resolve
from seekloop.commands.extract import prepare
from seekloop.commands.parts import build
from seekloop.commands.search import Settings, extraction_of_queries, search
from seekloop.commands.task import section
from seekloop.contracts.boxes import iou
from seekloop.extraction.whitening import sampled
from seekloop.store.reader import open_store
from tests.commands.runs import places, seekloop, worked
from tests.logs.wandb_file import Logged

CLAID = ("detect", "regions=claid", "backbone@regions.backbone=tiny")
SCENES = ("collection=scenes", "collection.images=24")
TINY = ("backbone@regions.backbone=tiny", "regions.shortest=20", "trainer.jobs=1", "trainer.workers=0")


def only_run(folder):
    (found,) = [path.parent for path in folder.rglob("COMPLETE")]
    return found


def measured(rows, boxes, cutoff, most):
    """The measures of one query, from its whole ranking, as they are defined."""
    hits = rows["relevant"].to_numpy()
    ranks = [rank for rank in range(1, len(hits) + 1) if hits[rank - 1] and rank <= cutoff]
    precision = [hits[:rank].mean() for rank in ranks]
    before = [hits[: rank - 1].mean() if rank > 1 else 1.0 for rank in ranks]
    known = rows[(rows["rank"] <= cutoff) & rows["relevant"]]
    overlaps = [
        iou(torch.tensor([[row.x0, row.y0, row.x1, row.y1]]), boxes[row.image]).max().item()
        for row in known.itertuples()
    ]
    last = min(most, int(hits.nonzero()[0].max()) + 1)
    return {
        "positives": hits.sum(),
        "ap": sum(precision) / min(cutoff, hits.sum()),
        "ap_trapezoid": sum(map(sum, zip(precision, before, strict=True))) / 2 / min(cutoff, hits.sum()),
        "precision": hits[:last].mean(),
        "miou": sum(overlaps) / len(overlaps) if overlaps else -1.0,
    }


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Stores are shared by the tests of this file."""
    return tmp_path_factory.mktemp("search")


def test_a_search_finds_itself_and_leaves_its_tables(ground):
    """Grid cells of a box: what is checked is how tables, summary, pictures and W&B belong together.

    All 23 other images are in the ranking that is kept, so every number can be had from it again.
    """
    where = places(ground / "runs", ground / "stores")
    settings = (*SCENES, "grid=1x1+2x2+4x4", "search.cutoffs=[5]", "search.kept=30", "instances.queries=2", *where)
    worked(seekloop("search", *settings, "wandb.mode=offline"))
    folder = only_run(ground / "runs" / "search")
    results, ranking = (pd.read_parquet(folder / f"{name}.parquet") for name in ("results", "ranking"))
    summary = json.loads((folder / "summary.json").read_text())
    asked = instantiate(resolve("search", settings).instances)
    assert list(results["query"]) == 2 * list(range(len(asked.names)))
    for name, column in {"map": "ap", "map_trapezoid": "ap_trapezoid", "miou": "miou"}.items():
        for cutoff in ("5", "all"):
            means = results[results["cutoff"] == cutoff][column]
            assert summary[f"{name}_{cutoff}"] == pytest.approx(means.mean())
    assert (summary["queries"], summary["images"]) == (len(asked.names), 24)
    assert summary["regions_per_image"] == 21
    for query, rows in ranking.groupby("query"):
        assert list(rows["rank"]) == list(range(1, 24))
        assert rows["score"].is_monotonic_decreasing
        assert set(rows["image"]) == set(range(24)) - {int(asked.own[query])}
        assert set(rows["image"][rows["relevant"]]) == set(asked.setups["all"].positive[query].tolist())
        for cutoff, most in ((5, 5), (23, 1000)):
            named = "5" if cutoff == 5 else "all"
            (at,) = results[(results["query"] == query) & (results["cutoff"] == named)].to_dict("records")
            want = measured(rows, asked.boxes[query], cutoff, most)
            assert {key: -1.0 if at[key] != at[key] else at[key] for key in want} == pytest.approx(want, abs=1e-6)
    assert (folder / "figures" / "results.png").stat().st_size > 10_000
    logged = Logged(folder)
    assert {(ground / "stores" / name / "COMPLETE").exists() for name in logged.config["artifacts"]} == {True}
    assert [name.split("-")[0] for name in logged.config["artifacts"]] == ["scenes", "scenes_queries"]
    (told,) = [row for row in logged.history if row.get("cutoff") == "5"]
    assert told["all/ap"] == pytest.approx(summary["map_5"])
    assert "already finished" in worked(seekloop("search", *settings, "wandb.mode=offline")).out


def test_a_query_is_pooled_in_its_box_where_regions_are_pooled_in_masks(ground):
    """Other descriptors of the regions, the same of the queries: the two runs share the queries' store."""
    stores = ground / "masks"
    maps = {}
    for inside in ("box", "mask"):
        where = places(ground / inside, stores)
        settings = (*SCENES, "regions=claid", *TINY, "encoding=roi", f"encoding.inside={inside}", *where)
        worked(seekloop("search", *settings, "wandb.mode=disabled"))
        maps[inside] = json.loads((only_run(ground / inside) / "summary.json").read_text())["map_all"]
    assert len(list(stores.glob("*queries*/COMPLETE"))) == 1
    assert maps["box"] != maps["mask"]


@pytest.mark.parametrize(
    ("words", "encoding", "pooling"),
    [
        (("encoding=roi",), "FromRegions", "Auto"),
        (("encoding=roi", "search.query=crop"), "FromCrops", "FromRegions"),
        (("encoding=roi", "encoding.inside=mask", "search.query=image"), "FromRegions", "FromRegions"),
        (("encoding=roi", "search.query=crop", "search.against=whole", "pooling=gem"), "FromCrops", "GeM"),
        (("encoding=tokens", "search.query=crop"), "FromCrops", "Mean"),
        (("encoding=crops", "search.query=image", "pooling=gem"), "FromCrops", "GeM"),
    ],
)
def test_queries_are_described_as_what_they_are_searched_against(words, encoding, pooling):
    """The class token of an image, say, compares with nothing that is pooled from regions."""
    config = resolve("search", (*SCENES, "instances.queries=1", *words))
    instances = build(config, "instances")
    asking = extraction_of_queries(prepare(config), instances, section(config, "search", Settings))
    assert (type(asking.encoding).__name__, type(asking.pooling).__name__) == (encoding, pooling)
    assert getattr(asking.encoding, "inside", "box") == "box"


def test_a_search_is_whitened_by_what_other_images_teach(ground, tmp_path):
    """Another run, from the same store; a store of another network or a folder of something else teaches nothing."""
    stores = ground / "stores"
    described = ("grid=2x2", f"store_dir={stores}", "trainer.workers=0")
    worked(seekloop("extract", "collection=scenes", "collection.images=30", "collection.seed=5", *described))
    (teacher,) = [one for one in stores.glob("scenes-*") if one.is_dir() and images_of(one) == 30]
    settings = ("search", *SCENES, "grid=2x2", "instances.queries=2", "search.cutoffs=[5]", "wandb.mode=disabled")
    found = {}
    for name, words in {
        "plain": (),
        "centred": ("whitening=centred", f"whitening.teacher={teacher}"),
        "whitened": ("whitening=pca", f"whitening.teacher={teacher}", "whitening.dims=16"),
    }.items():
        worked(seekloop(*settings, *words, *places(tmp_path / name, stores)))
        found[name] = pd.read_parquet(only_run(tmp_path / name) / "ranking.parquet")["score"]
    assert len({tuple(scores) for scores in found.values()}) == 3
    store = open_store(teacher, None)
    block = store.read(torch.arange(30), local=True)
    for by_region, rows in ((True, block.local), (False, block.global_)):
        torch.testing.assert_close(sampled(store, by_region), rows)
    moved = tmp_path / "moved"
    shutil.copytree(teacher, moved)
    again = worked(
        seekloop(
            *settings,
            "whitening=pca",
            f"whitening.teacher={moved}",
            "whitening.dims=16",
            *places(tmp_path / "whitened", stores),
        )
    )
    assert "already finished" in again.out
    wrong = ("whitening=pca", f"whitening.teacher={tmp_path / 'plain'}")
    refused = seekloop(*settings, *wrong, *places(tmp_path / "no", stores))
    assert "whitening.teacher=" in refused.err
    assert "it is no store" in refused.err
    refused = seekloop(
        *settings,
        "backbone.image_size=64",
        "whitening=pca",
        f"whitening.teacher={teacher}",
        *places(tmp_path / "no", stores),
    )
    assert "it has another size of images" in refused.err
    refused = seekloop(*settings, f"search.whitening={teacher}", *places(tmp_path / "no", stores))
    assert f"Type: whitening=pca whitening.teacher={teacher}" in refused.err
    refused = seekloop(*settings, "whitening=pca", *places(tmp_path / "no", stores))
    assert "collection@whitening.collection=" in refused.err


def test_a_whitening_of_pairs_serves_search_and_retrieve(ground, tmp_path):
    """Learnt on other scenes, once for each command: of boxes where regions are searched, of images where those are."""
    stores = ground / "stores"
    others = ("whitening=supervised", "collection@whitening.collection=scenes", "whitening.collection.images=30")
    others = (*others, "whitening.collection.seed=5")
    plainly = ("grid=2x2", "wandb.mode=disabled")
    searching = ("search", *SCENES, *plainly, *others, "instances.queries=2", "search.cutoffs=[5]")
    for name, against in (("regions", "regions"), ("whole", "whole")):
        told = worked(seekloop(*searching, f"search.against={against}", *places(tmp_path / name, stores)))
        assert "a whitening learnt on" in told.out
    learnt = {
        json.loads(path.read_text())["recipe"]["settings"]["of"]: path
        for path in stores.glob("*/whitening.json")
        if "Supervised" in path.read_text()
    }
    assert set(learnt) == {"regions", "images"}
    short = ("loop.rounds=2", "loop.queries=1", "loop.negatives=1", "loop.budget=2", "classifier=prototype")
    retrieving = ("retrieve", *SCENES, *plainly, "representation=go", *short)
    told = worked(seekloop(*retrieving, *others, *places(tmp_path / "loop", stores)))
    assert "a whitening learnt on" not in told.out  # that of images is there already
    run = only_run(tmp_path / "loop")
    assert "-supervised-" in run.name
    listed = worked(seekloop("store", "ls", f"store_dir={stores}", f"runs_dir={tmp_path / 'loop'}")).out
    assert any("whitening-" in line and run.name in line for line in listed.splitlines())
    worked(seekloop(*retrieving, *places(tmp_path / "plain", stores)))
    plain = only_run(tmp_path / "plain")
    assert "supervised" not in plain.name
    first = [pd.read_parquet(one / "rounds.parquet")["ap"].tolist() for one in (run, plain)]
    assert first[0] != first[1]


def test_words_and_feedback_refuse_a_whitening(ground, tmp_path):
    where = places(tmp_path, ground / "stores")
    for words in (("search.words=seven", "backbone=tiny_clip", "text=tiny_clip"), ("feedback=simulated",)):
        whole = ("search.query=image", "search.against=whole")
        refused = seekloop("search", *SCENES, *words, *whole, "whitening=centred", *where)
        assert "Use whitening=none" in refused.err


def images_of(folder):
    return json.loads((folder / "manifest.json").read_text())["images"]


def test_a_search_returns_its_map_within_the_first_cutoff(ground):
    """Which is what a sweeper that goes by results looks at."""
    where = places(ground / "returned", ground / "stores")
    for cutoffs, name in (("[5]", "map_5"), ("[]", "map_all")):
        settings = (*SCENES, f"search.cutoffs={cutoffs}", "instances.queries=1", "grid=2x2", "wandb.mode=disabled")
        config = resolve("search", (*settings, f"experiment_name={name}", *where))
        value = search(config)
        summary = json.loads((only_run(ground / "returned" / name) / "summary.json").read_text())
        assert value == summary[name]


def test_detectors_are_held_against_the_boxes(ground):
    where = places(ground / "runs", ground / "stores")
    worked(seekloop("detect", *SCENES, "regions=claid", *TINY, *where, "wandb.mode=offline"))
    folder = only_run(ground / "runs" / "detect")
    summary, recall = json.loads((folder / "summary.json").read_text()), pd.read_parquet(folder / "recall.parquet")
    assert recall["recall"].is_monotonic_decreasing
    assert summary["recall_50"] == pytest.approx(recall[recall["iou"].between(0.499, 0.501)]["recall"].item())
    images = pd.read_parquet(folder / "images.parquet")
    assert summary["regions_per_image"] == pytest.approx(images["regions"].mean())
    assert summary["corloc"] == pytest.approx((images["first_iou"].dropna() >= 0.5).mean())
    assert (images["best_iou"].dropna() >= images["first_iou"].dropna()).all()
    assert 0 < summary["affine_share"] < 1
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"recall", "regions"}
    assert [row["recall"] for row in Logged(folder).history if "iou" in row] == pytest.approx(recall["recall"].tolist())


def test_found_regions_serve_the_loop_with_cells_and_without(ground):
    """Ragged regions, and the grid's cells besides, from a folder of images to curves."""
    where = places(ground / "runs", ground / "stores")
    loop = ("loop.queries=1", "loop.rounds=1", "loop.budget=5", "representation=gl_concat_all")
    for cells in ("null", "2x2"):
        worked(seekloop("retrieve", *SCENES, "regions=claid", *TINY, f"regions.cells={cells}", *loop, *where))
    folders = [path.parent for path in (ground / "runs" / "default").rglob("COMPLETE")]
    assert len(folders) == 2
    for folder in folders:
        rounds = pd.read_parquet(folder / "rounds.parquet")
        assert rounds["ap"].between(0, 1).all()
        assert rounds["round"].max() == 1


def test_runs_of_both_are_reported_and_their_state_told(ground, tmp_path):
    runs = tmp_path / "runs"
    searched = ("search", "instances.queries=1", "search.shown=0")
    for words, name, area in ((searched, "search", "map_all"), ((*CLAID, *TINY), "detect", "corloc")):
        worked(seekloop(*words, *SCENES, *places(runs, ground / "stores"), "wandb.mode=disabled"))
        worked(seekloop("report", str(runs / name), "wandb=disabled"))
        assert area in (runs / name / "report.csv").read_text()
        assert "1 done" in worked(seekloop("status", str(runs / name))).out
    assert "do not go into one table" in seekloop("report", str(runs), "wandb=disabled").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("search", "search.query=box"), "search.query='box' cannot work"),
        (("search", "search.cutoffs=[0]"), "search.cutoffs=[0] cannot work"),
        (("search", "instances.queries=0"), "instances.queries=0 cannot work"),
        (("detect", "detect.threshold=0"), "detect.threshold=0 cannot work"),
        (("detect", "regions=boxes"), "the annotated boxes would be compared with themselves"),
        ((*CLAID, "regions.detector.alpha=2.0"), "regions.detector.alpha=2.0 cannot work"),
        ((*CLAID, "regions.layer=99"), "regions.layer=99 cannot work"),
        ((*CLAID, "regions.backbone.checkpoint=none.safetensors"), "regions.backbone.checkpoint='none.safetensors'"),
    ],
)
def test_what_cannot_work_is_said_with_its_key(ground, words, message):
    ended = seekloop(*words, *SCENES, *places(ground / "runs", ground / "stores"))
    assert ended.code == 1
    assert message in ended.err


@pytest.mark.parametrize(
    "moment",
    [
        "ranking-0000",
        pytest.param("state-0000", marks=pytest.mark.slow),
        pytest.param("results.parquet", marks=pytest.mark.slow),
        "summary.json",
    ],
)
def test_a_search_that_was_killed_at_its_end_is_finished_by_the_same_command(ground, processes, tmp_path, moment):
    settings = (*SCENES, "grid=2x2", "search.cutoffs=[5]", "instances.queries=2", "wandb.mode=disabled")
    worked(seekloop("search", *settings, *places(ground / "undisturbed", ground / "stores")))
    command = ("search", *settings, *places(tmp_path, ground / "stores"))
    killed = processes.start(*command, kill_at=moment)
    assert killed.wait() == -signal.SIGKILL, killed.said()
    worked(seekloop(*command))
    for name in ("results.parquet", "ranking.parquet"):
        same = (only_run(ground / "undisturbed") / name).read_bytes() == (only_run(tmp_path) / name).read_bytes()
        assert same, name

"""`seekloop search "red"`: a network that sees colours, names of colours, and pictures of one coloured square each."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn
from torch.nn import functional as F

import seekloop as program
from seekloop.commands.compose import resolve
from seekloop.commands.composed import with_words
from seekloop.contracts.errors import ConfigError
from tests.commands.runs import places, seekloop, worked
from tests.worlds import blobs

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of those that write the files

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
SQUARES = [("red", 0, 0, 8), ("green", 32, 0, 16), ("blue", 32, 32, 32), ("red", 0, 32, 24), ("green", 16, 16, 32)]
"""Colour, left, top and side of the square on each picture of 64 x 64 grey pixels; the last one has none."""


class Colours(nn.Module):
    """Colour of each cell of 8 x 8 pixels, less its mean over the channels, beside a little grey; d = 4."""

    def forward(self, pixels):
        cells = F.avg_pool2d(pixels, 8)
        return torch.cat([cells - cells.mean(dim=1, keepdim=True), 0.05 * torch.ones_like(cells[:, :1])], 1)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Folder with pictures, boxes, network and vocabulary; and the command's words that name them."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "pictures").mkdir()
    rows = ["image,class,x0,y0,x1,y1"]
    for number, square in enumerate([*SQUARES, None]):
        picture = Image.new("RGB", (64, 64), (128, 128, 128))
        if square:
            colour, x, y, side = square
            picture.paste(COLOURS[colour], (x, y, x + side, y + side))
            rows.append(f"{number}.png,{colour},{x},{y},{x + side},{y + side}")
        picture.save(folder / "pictures" / f"{number}.png")
    (folder / "pictures" / "boxes.csv").write_text("\n".join(rows))
    torch.jit.script(Colours()).save(str(folder / "colours.pt"))
    vectors = [[2 / 3, -1 / 3, -1 / 3, 0], [-1 / 3, 2 / 3, -1 / 3, 0], [-1 / 3, -1 / 3, 2 / 3, 0], [1, 0, 0, 0]]
    names = ["red,crimson", "green", "blue", "azure"]
    np.savez(folder / "colours.npz", names=np.array(names), vectors=np.array(vectors, dtype=np.float32))
    return folder


def command(ground, **changes):
    settings = {
        "collection": "folder",
        "collection.root": ground / "pictures",
        "collection.boxes": "boxes.csv",
        "backbone": "torchscript",
        "backbone.checkpoint": ground / "colours.pt",
        "backbone.image_size": 64,
        "backbone.text_space": "colours",
        "text": "vocabulary",
        "text.file": ground / "colours.npz",
        "text.space": "colours",
        "trainer": "cpu",
        "trainer.precision": "32-true",
        "trainer.workers": 0,
        "trainer.jobs": 1,
        "wandb.mode": "disabled",
        **changes,
    }
    where = places(ground / "runs", ground / "stores")
    return [*(f"{key}={value}" for key, value in settings.items() if value is not None), *where]


def ranked(outcome):
    """The ranking that a command left, whose folder is the last word that it said."""
    folder = worked(outcome).out.strip().rpartition(": ")[2].partition(" (")[0]
    return pd.read_parquet(f"{folder}/ranking.parquet"), folder


def test_the_first_plain_word_is_what_is_searched_for():
    assert with_words(["a red bus", "grid=2x2"]) == ['search.words="a red bus"', "grid=2x2"]
    assert with_words([""]) == ['search.words=""']
    for others in ([], ["--help"], ["-m", "grid=2x2"], ["search.words=bus"], ["~prior"]):
        assert with_words(others) == others
    assert with_words(['- "bus"'])[0].startswith("search.words=")


def test_words_rank_and_the_region_that_answers_is_known(ground):
    """Cells of 16 pixels. Picture 3 has cells that are red throughout, picture 0 one that is red by a quarter."""
    outcome = seekloop("search", "crimson", *command(ground))
    ranking, folder = ranked(outcome)
    assert "'crimson' is taken for red, crimson (similarity 1.00)" in outcome.out
    assert "3.png  (0.00, 0.50, 0.25, 0.75)" in outcome.out
    assert ranking["image"].tolist()[:2] == [3, 0]
    assert ranking[["x0", "y0", "x1", "y1"]].values.tolist()[1] == [0, 0, 0.25, 0.25]
    assert ranking["score"].is_monotonic_decreasing
    assert len(ranking) == 6
    assert json.loads(Path(folder, "summary.json").read_text())["best_score"] == ranking["score"][0]
    with Image.open(f"{folder}/figures/answers.png") as sheet:
        assert sheet.width > 900
    again = worked(seekloop("search", "crimson", *command(ground)))
    assert "already finished" in again.out


def test_weights_and_pictures_are_joined(ground):
    """Not blue: what is left of a picture of blue and of the word is the opposite of blue; then green or red leads."""
    ranking, _ = ranked(seekloop("search", "2.png - blue", *command(ground, **{"search.against": "whole"})))
    assert ranking["image"].iloc[0] != 2
    outside = ground / "mine.png"
    Image.new("RGB", (20, 30), COLOURS["green"]).save(outside)
    ranking, _ = ranked(seekloop("search", f'{outside} + 2*"green"', *command(ground)))
    assert set(ranking["image"].iloc[:2]) == {1, 4}
    assert ranking["score"].iloc[0] == pytest.approx(1, abs=0.01)


def test_clusters_of_tokens_answer_like_all_of_them_and_paint_their_cells(ground):
    """Each picture has two colours, so two clusters are as good as 64 tokens; one is the mean."""
    clusters = {"regions": "clusters", "encoding": "masks", "grid": None}
    scores = {}
    for most in (1, 2, 1000):
        changes = {**clusters, "regions.detector.clusters": most}
        ranking, folder = ranked(seekloop("search", "red", *command(ground, **changes)))
        scores[most] = ranking.set_index("image")["score"].sort_index()
        if most == 2:
            box = ranking[ranking["image"] == 3][["x0", "y0", "x1", "y1"]].values.tolist()
            assert box == [[0, 0.5, 0.375, 0.875]]
            with Image.open(f"{folder}/figures/answers.png") as sheet:
                assert sheet.height > 100
    pd.testing.assert_series_equal(scores[2], scores[1000], atol=2e-3)
    assert scores[1][0] < scores[2][0] - 0.2
    whole, _ = ranked(seekloop("search", "red", *command(ground, **{"search.against": "whole"})))
    pd.testing.assert_series_equal(whole.set_index("image")["score"].sort_index(), scores[1], atol=2e-3)


def test_class_names_are_searched_for_and_measured_by_size(ground):
    """Every colour is found; a small red square is found alone when the larger one is taken out, and the other way."""
    outcome = worked(seekloop("search", *command(ground, instances="class_names")))
    folder = outcome.out.strip().rpartition(": ")[2]
    results = pd.read_parquet(f"{folder}/results.parquet")
    summary = json.loads(Path(folder, "summary.json").read_text())
    counts = results[results["cutoff"] == "all"].pivot(index="name", columns="setup", values="positives")
    assert counts.loc["red"].to_dict() == {"all": 2, "small": 1, "medium": 1, "large": 0}
    assert counts.loc["green"].to_dict() == {"all": 2, "small": 0, "medium": 1, "large": 1}
    assert (summary["map_all"], summary["map_50"], summary["small_map_all"], summary["queries"]) == (1, 1, 1, 3)
    assert summary["bytes_per_image"] == 16 * 4 * 2
    misread = command(ground, instances="class_names", **{"instances.words": "{red: blue}"})
    folder = worked(seekloop("search", *misread)).out.strip().rpartition(": ")[2]
    assert json.loads(Path(folder, "summary.json").read_text())["map_all"] < 0.9


def test_rare_common_and_frequent_classes_of_lvis_are_reported_beside_the_whole(ground):
    """The three colours as LVIS's classes of three frequencies; the rare one is searched for by a wrong word."""
    (ground / "lvis").mkdir()
    (ground / "lvis" / "val2017").symlink_to(ground / "pictures")
    images = [
        {"id": n, "coco_url": f"http://x/val2017/{n}.png", "neg_category_ids": [i for i in (1, 2, 3) if i != own]}
        for n, own in enumerate([1, 2, 3, 1, 2, None])
    ]
    objects = [{"image_id": n, "category_id": own, "bbox": [0, 0, 8, 8]} for n, own in enumerate([1, 2, 3, 1, 2])]
    classes = zip(COLOURS, "rcf", strict=True)
    categories = [{"id": n, "name": name, "frequency": letter} for n, (name, letter) in enumerate(classes, start=1)]
    content = {"images": images, "annotations": objects, "categories": categories}
    (ground / "lvis" / "lvis_v1_val.json").write_text(json.dumps(content))
    changes = {"collection": "lvis", "collection.root": ground / "lvis", "collection.boxes": None}
    words = command(ground, instances="class_names", **changes, **{"instances.words": "{red: blue}"})
    folder = worked(seekloop("search", *words)).out.strip().rpartition(": ")[2]
    summary = json.loads(Path(folder, "summary.json").read_text())
    assert summary["rare_map_all"] < 0.5
    assert (summary["common_map_all"], summary["frequent_map_all"]) == (1, 1)
    for name in ("map_all", "miou_all"):
        kinds = [summary[f"{kind}_{name}"] for kind in ("rare", "common", "frequent")]
        assert summary[name] == pytest.approx(sum(kinds) / 3)
    assert summary["rare_miou_all"] != pytest.approx(summary["common_miou_all"])


@pytest.fixture(scope="module")
def described(ground):
    """ILIAS's layout: a red and a green object, described by two and by one text, and a grey distractor."""
    root = ground / "ilias"
    for name, colour, texts in (("one_000", "red", ["red", "azure"]), ("two_001", "green", ["green"])):
        for part in ("query", "pos"):
            (root / "ilias_core" / name / part).mkdir(parents=True)
            picture = root / "ilias_core" / name / part / f"{part[0].upper()}_00.png"
            Image.new("RGB", (64, 64), COLOURS[colour]).save(picture)
            picture.with_name(f"{picture.stem}_bbox.txt").write_text("0 0 64 64")
        for number, words in enumerate(texts):
            (root / "ilias_core" / name / "query" / f"T_{number}.txt").write_text(words)
    (root / "yfcc100m").mkdir()
    Image.new("RGB", (64, 64), (128, 128, 128)).save(root / "yfcc100m" / "grey.png")
    return root


@pytest.mark.parametrize(("join", "queries", "score"), [(False, 3, 1.0), (True, 2, 0.953)])
def test_objects_are_searched_for_by_their_descriptions(ground, described, join, queries, score):
    """The cosine of red and azure is 0.816, that of red and the mean of both sqrt((1 + 0.816) / 2) = 0.953."""
    changes = {"instances": "mini_ilias", "instances.root": described, "instances.queries": "texts"}
    outcome = worked(seekloop("search", *command(ground, **changes, **{"search.join": join})))
    folder = outcome.out.strip().rpartition(": ")[2]
    summary = json.loads(Path(folder, "summary.json").read_text())
    assert (summary["queries"], summary["images"], summary["map_all"]) == (queries, 3, 1)
    ranking = pd.read_parquet(f"{folder}/ranking.parquet")
    first = ranking[(ranking["rank"] == 1) & (ranking["query"] == 0)]
    assert first["path"].tolist() == ["ilias_core/one_000/pos/P_00.png"]
    assert first["score"].item() == pytest.approx(score, abs=0.01)


def test_table_10_of_claid_asks_one_store_by_boxes_and_by_texts(ground, described):
    """Its two runs, with a random model of open_clip's format and the built-in network's regions."""
    open_clip = pytest.importorskip("open_clip")
    vision, text = {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16}, {"context_length": 77, "layers": 1}
    settings = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": {**text, "width": 24, "heads": 2}}
    model = ground / "small_clip"
    model.mkdir()
    (model / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    random = open_clip.CLIP(24, vision, settings["text_cfg"])
    torch.save(random.state_dict(), model / "open_clip_pytorch_model.bin")
    own = [f"backbone.model=local-dir:{model}", "backbone.pretrained=null", f"instances.root={described}"]
    regions = ["backbone@regions.backbone=tiny", "regions.shortest=20"]
    run = [word for word in command(ground) if word.startswith(("trainer", "wandb"))]
    where = [f"runs_dir={ground / 'table_10'}", f"store_dir={ground / 'stores'}"]
    worked(seekloop("search", "-m", "experiment=claid_table_10", *own, *regions, *run, *where))
    folders = [path.parent for path in (ground / "table_10").rglob("COMPLETE")]
    configs = {folder: OmegaConf.load(folder / "config.yaml") for folder in folders}
    summaries = {
        configs[folder].instances.queries: json.loads((folder / "summary.json").read_text()) for folder in folders
    }
    assert {one: summary["queries"] for one, summary in summaries.items()} == {"images": 2, "texts": 3}
    assert {configs[folder].paper.map_1000 for folder in folders} == {0.585, 0.402}
    assert all(0 <= summary["map_1000"] <= 1 for summary in summaries.values())
    assert len({summary["regions_per_image"] for summary in summaries.values()}) == 1


@pytest.mark.parametrize(
    ("words", "changes", "message"),
    [
        ("", {}, "words='' cannot work: it is empty"),
        ("a red bus", {}, r"none of the 4 names of colours, nor near one. Nearest: red, crimson"),
        ("赤" * 10_000, {}, "nor near one"),
        ("red + gone.jpg", {}, "words='gone.jpg' cannot work: it is neither one of the images of folder nor a file"),
        ("red - red", {}, "cancel each other out"),
        ('"red', {}, "a quotation mark is not closed"),
        ("red", {"text": "none", "text.file": None, "text.space": None}, "needs an encoder of texts.*text=openclip"),
        ("red", {"text.space": "others"}, "live in the space 'others', the descriptors of colours:0 in 'colours'"),
        ("red", {"backbone.text_space": None}, "aligned with none.*backbone=openclip"),
        ("red", {"encoding": "roi"}, "pooled by powers or maxima.*pool=mean"),
        ("red", {"text.file": __file__}, "it is no vocabulary"),
        ("red", {"text.names": "colours"}, "text.names='colours' cannot work.*It has: names, vectors"),
    ],
)
def test_what_cannot_be_searched_for_is_said(ground, words, changes, message):
    outcome = seekloop("search", words, *command(ground, **changes))
    assert outcome.code == 1
    assert len(outcome.err) < 900
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(outcome.err.replace("\n", " "))


def test_vectors_of_another_width_are_refused(ground):
    np.savez(ground / "three.npz", names=np.array(["red"]), vectors=np.ones((1, 3), dtype=np.float32))
    outcome = seekloop("search", "red", *command(ground, **{"text.file": ground / "three.npz"}))
    assert "its vectors have 3 dimensions, the descriptors of colours:0 4" in outcome.err


def test_a_persons_search_starts_from_words(ground, tmp_path):
    words = command(ground)
    extracted = [word for word in words if not word.startswith(("text", "runs_dir", "wandb"))]
    store = program.extract(*extracted)
    text = [word for word in words if word.startswith("text")]
    loop = ["representation=lo_all", "loop.negatives=0", "loop.budget=2"]
    search = program.session(store, None, [*text, *loop], words="red - green")
    assert search.ranking(2) == [3, 0]
    assert search.query.text.words == "red - green"
    with program.saved_session(tmp_path / "search.sqlite", store, overrides=[*text, *loop], words="red") as kept:
        kept.answer({item.image: item.image in (0, 3) for item in kept.ask()})
        first = kept.ranking(3)
    with program.saved_session(tmp_path / "search.sqlite", store, overrides=[*text, *loop], words="red") as again:
        assert again.ranking(3) == first
    with pytest.raises(ConfigError, match="live in the space 'others'"):
        program.session(store, None, [*text[:-1], "text.space=others", *loop], words="red")


LOOP = {
    "representation": "lo_all",
    "loop.queries": 2,
    "loop.negatives": 1,
    "loop.rounds": 2,
    "loop.budget": 1,
    "metrics.clusters": 2,
    "metrics.clusterings": 1,
}


def simulated(ground, **changes):
    """Tables of rounds, questions and queries of simulated searches, what was said, and their folder."""
    outcome = worked(seekloop("retrieve", *command(ground, **{**LOOP, **changes})))
    folder = outcome.out.strip().rpartition(": ")[2].partition(" (")[0]
    tables = [pd.read_parquet(f"{folder}/{name}.parquet") for name in ("rounds", "asked", "queries")]
    return *tables, outcome.out, Path(folder)


def test_simulated_searches_begin_with_words_a_box_or_both(ground):
    """The same four searches. By words no image is known to be relevant at first, and the first one asked about has a
    cell of 16 pixels that is all of the colour (3; 1 and 4), also where the search with a box begins with that image.
    """
    starts, first, known, paths = {"box": 1, "text": 0, "both": 1}, {}, {}, {}
    for query, shown in starts.items():
        rounds, asked, queries, _, folder = simulated(ground, query=query)
        paths[query] = queries[["class_name", "query", "path", "negatives"]].astype(str).values.tolist()
        known[query] = rounds[rounds["round"] == 0]["positives"].unique().tolist()
        first[query] = asked[asked["round"] == 1].set_index(["class_name", "query"])["image"]
        assert known[query] == [shown]
        assert ("words" in queries) == (query != "box")
        assert (rounds[rounds["round"] == 0]["coverage"] > 0).all() == bool(shown)
        assert len(list(folder.glob("figures/asked_*.png"))) == 2
    assert paths["box"] == paths["text"] == paths["both"]
    assert first["text"].to_dict() == {("red", 0): 3, ("red", 1): 3, ("green", 0): 1, ("green", 1): 1}
    given = queries.set_index(["class_name", "query"])["image"]
    assert (first["both"] != given).all()


def test_words_of_a_simulated_search_may_be_others_than_the_name_of_the_class(ground):
    """By the word blue, green squares and red ones are as far; `azur` is near enough to azure, and that is said."""
    rounds, _, queries, out, _ = simulated(ground, query="text", **{"query.words": "{red: azur}"})
    assert "'azur' is taken for azure (similarity 0.89)" in out
    assert set(queries["words"]) == {"azur", "green"}
    plain = simulated(ground, query="text")[0]
    start = [one[one["round"] == 0].groupby("class_name")["ap"].first() for one in (rounds, plain)]
    assert start[0]["green"] == start[1]["green"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "none", "text.file": None, "text.space": None}, "needs an encoder of texts.*text=vocabulary"),
        ({"backbone.text_space": None}, "aligned with none.*backbone=openclip"),
        ({"text.space": "others"}, "live in the space 'others'"),
        ({"query.words": "{red: zeppelin}"}, "words='zeppelin' cannot work: it is none of the 4 names"),
        ({"query.words": "{cow: red}"}, "query.words=.*has no class 'cow'. Classes: blue, green, red"),
        ({"prior": "none"}, "prior='none' cannot work.*before there are answers a prior ranks.*prior=similarity"),
        ({"query": "both", "prior": "none"}, "words rank by a prior, and there is none"),
        ({"prior.source": "example"}, "prior.source='example'.*which it would not read"),
        ({"query": "box", "prior": "similarity", "prior.source": "text"}, "prior.source='text'.*without words"),
        ({"classifier": "nearest"}, "a prior is blended with a hyperplane"),
    ],
)
def test_searches_that_cannot_begin_with_words_are_refused_before_images_are_described(
    ground, tmp_path, changes, message
):
    words = command(ground, **{**LOOP, "query": "text", **changes})
    words = [word for word in words if not word.startswith("store_dir=")]
    outcome = seekloop("retrieve", *words, f"store_dir={tmp_path}")
    assert outcome.code == 1
    assert re.search(message, outcome.err.replace("\n", " ")), outcome.err
    assert not list(tmp_path.glob("*/whole-*.npy"))


def test_check_says_which_words_searches_begin_with_and_which_it_cannot_read(ground, tmp_path):
    def said(**changes):
        words = command(ground, **{**LOOP, "query": "text", "check.folder": tmp_path, **changes})
        return worked(seekloop("check", *words)).out

    assert "they begin with words: green, red" in said()
    assert "retrieve would refuse them: query.words" not in said()
    assert "retrieve would refuse them: words='zeppelin'" in said(**{"query.words": "{red: zeppelin}"})
    assert "aligned with none" in said(**{"backbone.text_space": None})


def test_a_simulation_over_arrays_begins_with_words(ground):
    """Stars lie around +e_1; the vector of the word lies there as well, so that the first question is a star."""
    world = blobs(40, 4)
    np.savez(ground / "stars.npz", names=np.array(["star"]), vectors=np.eye(4, dtype=np.float32)[:1])
    words = ["text=vocabulary", f"text.file={ground / 'stars.npz'}", "representation=go", "loop.rounds=1"]
    settings = ["loop.queries=2", "loop.budget=4", "metrics.clusters=4", "metrics.clusterings=1"]
    table = program.simulate(world.descriptors, world.annotations, *words, *settings, "query=text")
    assert table[table["round"] == 0]["positives"].tolist() == [0, 0]
    assert table[table["round"] == 1]["positives"].tolist() == [4, 4]
    with pytest.raises(ConfigError, match="its vectors have 4 dimensions, the descriptors 8"):
        program.simulate(blobs(40).descriptors, world.annotations, *words, *settings, "query=text")
    with pytest.raises(ConfigError, match=r"overrides='query=text'.*Give image=..., words=..., or both"):
        program.session(world.descriptors, 0, ["query=text"])


def test_a_sweep_over_query_can_give_its_words():
    """Hydra composes a sweep's config once without what is swept over, that is with query=box."""
    assert resolve("retrieve", ["query.words={red: azur}"]).query == {"words": {"red": "azur"}}
    swept = resolve("retrieve", ["query.words={red: azur}", "query=both"]).query
    assert (swept.words, swept.box) == ({"red": "azur"}, True)

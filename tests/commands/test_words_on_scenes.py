"""Words about digits on the built-in scenes, with the built-in pair."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

import seekloop as program
from seekloop.backbones.tiny_clip import TinyClipText
from seekloop.commands.composed import PAIR, with_pair
from seekloop.images.generated.captions import captions_of, looks_of, relevant, sentence
from seekloop.images.generated.scenes import Scenes
from seekloop.matching.instance_search import compare
from seekloop.metrics.average_precision import average_precision
from tests.commands.runs import places, seekloop, worked

IMAGES = 100
SMALL = (f"collection.images={IMAGES}", "trainer=cpu", "trainer.workers=0", "trainer.precision=32-true")


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words_on_scenes")
    return places(folder / "runs", folder / "stores")


@pytest.fixture(scope="module")
def attributes():
    return looks_of(Scenes(IMAGES))


def test_words_that_choose_no_networks_are_given_the_built_in_pair():
    words = "search.words=seven"
    assert with_pair([words, "grid=2x2", "backbone.image_size=64"]) == [
        words,
        "grid=2x2",
        "backbone.image_size=64",
        *PAIR,
    ]
    for chosen in ("backbone=tiny", "text=openclip", "experiment=mine", "+experiment=mine", "--help"):
        assert with_pair([words, chosen]) == [words, chosen]
    assert with_pair(["instances=class_names"]) == ["instances=class_names"]


def test_searches_that_begin_with_words_are_given_what_the_pair_lacks():
    begun = ["query=box,text", "text=tiny_clip"]
    assert with_pair(begun) == [*begun, "backbone=tiny_clip"]
    assert with_pair(["query=both"]) == ["query=both", *PAIR]
    assert with_pair(["-m", "query=both", "--cfg", "job"]) == ["-m", "query=both", *PAIR, "--cfg", "job"]
    for one in ("query=box", "text=tiny_clip"):
        assert with_pair([one]) == [one]


def test_a_search_for_a_seven_needs_nothing_but_the_words(where):
    """The first answers show one, and each is found in one of 4 x 4 cells that its box touches."""
    outcome = worked(seekloop("search", "a seven", *SMALL, *where, "wandb.mode=disabled"))
    assert "chosen for the words: backbone=tiny_clip text=tiny_clip" in outcome.out
    assert "'a seven' is read as seven" in outcome.out
    folder = outcome.out.strip().rpartition(": ")[2].partition(" (")[0]
    ranking = pd.read_parquet(f"{folder}/ranking.parquet").head(5)
    known = Scenes(IMAGES).annotations
    right = 0
    for row in ranking.itertuples():
        boxes = known.box[(known.image == row.image) & (known.label == 7)].tolist()
        right += any(x0 < row.x1 and x1 > row.x0 and y0 < row.y1 and y1 > row.y0 for x0, y0, x1, y1 in boxes)
    assert right >= 4
    with Image.open(Path(folder, "figures/answers.png")) as sheet:
        assert sheet.width > 900


def test_held_out_scenes_are_ranked_far_above_chance(where, attributes):
    """MAP over 100 scenes by the better of the best cell of 4 x 4 and the whole image; over 1,000: .994, .872, .959."""
    store = program.extract("backbone=tiny_clip", *SMALL, where[1])
    encoder = TinyClipText()
    found = {}
    for kind in ("digit", "colour, digit", "two digits"):
        drawn = captions_of(kind, attributes, 3)
        right = relevant(drawn, attributes).mT
        scores = compare(store, encoder([sentence(caption) for caption in drawn]), "both").scores
        found[kind] = (float(average_precision(scores, right).mean()), float(right.double().mean()))
    assert found["digit"][0] > 0.9
    assert found["colour, digit"][0] > max(0.6, 6 * found["colour, digit"][1])
    assert found["two digits"][0] > max(0.6, 6 * found["two digits"][1])


def test_a_store_of_another_backbone_and_unknown_words_are_refused(where):
    other = seekloop("search", "a seven", "backbone=tiny", "text=tiny_clip", *SMALL, *where)
    assert other.code == 1
    assert "aligned with none" in other.err
    assert "backbone=tiny_clip" in other.err
    unknown = seekloop("search", "a red bus", *SMALL, *where)
    assert unknown.code == 1
    assert "tiny_clip does not know 'bus'" in unknown.err
    assert "backbone=openclip text=openclip" in unknown.err

"""`seekloop search feedback=simulated` on the built-in scenes, and on squares with a network and words of colours."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from seekloop.matching.feedback import open_feedback
from tests.commands.runs import places, refused, seekloop, worked
from tests.commands.test_words import COLOURS, Colours

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of those that write the files

ASKED = ("feedback=simulated", "search.query=image", "search.against=whole", "wandb.mode=disabled", "trainer.workers=0")
SCENES = ("collection=scenes", "collection.images=24", "instances=feedback_tasks", "instances.queries=1")


def folder_of(outcome):
    """The run's folder, the last word of the last line."""
    return Path(worked(outcome).out.strip().splitlines()[-1].rpartition(": ")[2].partition(" (")[0])


def run(where, *words):
    """A run's folder, its summary and its results."""
    folder = folder_of(seekloop("search", *ASKED, *where, *words))
    return folder, json.loads((folder / "summary.json").read_text()), pd.read_parquet(folder / "results.parquet")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return places(folder / "runs", folder / "stores")


def test_a_run_measures_before_and_after_and_leaves_its_feedback(scenes):
    words = (*SCENES, "feedback.sizes=[2,5]")
    folder, summary, results = run(scenes, *words)
    main = results[(results["size"] == 5) & (results["judged"] == "left_out")]
    assert summary["recall_1"] == pytest.approx(main["recall_1"].mean())
    assert summary["kept_first_1_2"] == pytest.approx(
        results[(results["size"] == 2) & (results["judged"] == "kept")]["first_1"].mean()
    )
    judged = pd.read_parquet(folder / "judged.parquet")
    assert judged.groupby("query")["rank"].apply(list).tolist() == [[1, 2, 3, 4, 5]] * summary["queries"]
    counts = judged[judged["rank"] <= 2].groupby("query")["liked"].sum()
    shown = results[(results["size"] == 2) & (results["judged"] == "kept")].set_index("query")
    assert shown["likes"].to_dict() == counts.to_dict()
    known = open_feedback(folder)
    assert known.index.shape == (summary["queries"], 5)
    assert (folder / "figures" / "recall.png").stat().st_size > 5_000
    again = worked(seekloop("search", *ASKED, *scenes, *words)).out
    assert re.search(rf"already finished, recall_1 .* after 5 images judged: {folder}", again)


def test_no_dislikes_and_no_likes_leave_the_ranking(scenes):
    """One image judged is liked or disliked, and either way all images are predicted alike."""
    _, summary, results = run(scenes, *SCENES, "feedback.sizes=[1]")
    assert summary["unchanged"] == summary["queries"]
    for k in (1, 5, 10):
        assert results[f"recall_{k}"].equals(results[f"first_{k}"])


def test_feedback_of_one_collection_is_used_on_another(scenes, tmp_path):
    """The same scenes ask; 30 others are ranked. Feedback of the 24 on themselves is left out, as always."""
    first, before, _ = run(scenes, *SCENES, "feedback.sizes=[5]")
    others = ("collection=scenes", "collection.images=30", "collection.seed=7", "instances=feedback_tasks")
    others += ("collection@instances.asked=scenes", "instances.asked.images=24", "instances.queries=1")
    _, here, results = run(scenes, *others, "feedback.sizes=[5]")
    assert set(results["judged"]) == {"left_out", "kept"}
    _, there, results = run(scenes, *others, "feedback.sizes=[5]", f"feedback.source={first}")
    assert set(results["judged"]) == {"elsewhere"}
    assert results["first_1"].notna().all()
    assert there["queries"] <= before["queries"]
    same, _, results = run(scenes, *SCENES, "feedback.sizes=[5]", f"feedback.source={first}")
    assert same != first
    assert results.equals(pd.read_parquet(first / "results.parquet"))
    assert there["images"] == here["images"] == 30
    message = refused(seekloop("search", *ASKED, *scenes, *others, f"feedback.source={first}"))
    assert "at most 5 images were judged there, and feedback.sizes asks for 50" in message
    message = refused(seekloop("search", *ASKED, *scenes, *others, f"feedback.source={tmp_path}"))
    assert "feedback.source=" in message
    assert "it holds no feedback" in message
    other = (*SCENES, "pooling=gem", "feedback.sizes=[5]", f"feedback.source={first}")
    assert "another backbone, size of images or pooling" in refused(seekloop("search", *ASKED, *scenes, *other))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("search.query=region",), "search.query='region' cannot work: feedback compares whole images"),
        (("search.against=regions",), "search.against='regions' cannot work"),
        (("feedback.anchor=text",), "NearestFilter has no anchor"),
        (("feedback.sizes=[]",), "nothing would be judged"),
        (("feedback.sizes=[0]",), "feedback.sizes=[0] cannot work"),
        (("instances.task=changed",), "the task changed is about properties"),
        (
            ("instances.task=changed", "instances.properties=size", "feedback.with_query=true"),
            "feedback.with_query=True",
        ),
        (("search.words=dog",), "feedback='simulated' cannot work: its queries are images"),
    ],
)
def test_what_cannot_work_is_refused(scenes, words, told):
    assert told in refused(seekloop("search", *ASKED, *SCENES, *scenes, *words))


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Squares of three colours in two shades, in folders as MIT-States has them; network and vocabulary of colours."""
    folder = tmp_path_factory.mktemp("colours")
    for number in range(18):
        colour, shade = list(COLOURS)[number % 3], ("bright", "dim")[number // 3 % 2]
        picture = Image.new("RGB", (64, 64), (120 + number, 120, 128))
        value = tuple(round(one * (1.0 if shade == "bright" else 0.5)) for one in COLOURS[colour])
        picture.paste(value, (0, 0, 40 + number, 40))
        path = folder / "images" / f"{shade} {colour}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    torch.jit.script(Colours()).save(str(folder / "colours.pt"))
    vectors = [[2 / 3, -1 / 3, -1 / 3, 0], [-1 / 3, 2 / 3, -1 / 3, 0], [-1 / 3, -1 / 3, 2 / 3, 0]]
    names = [f"bright {colour},dim {colour}" for colour in COLOURS]
    np.savez(folder / "colours.npz", names=np.array(names), vectors=np.array(vectors, dtype=np.float32))
    return folder


@pytest.mark.parametrize("classifier", ["rocchio", "svm_anchored"])
def test_words_may_be_the_anchor(colours, classifier):
    """A change of shade, asked for in words: another anchor is another run with other results than the image's."""
    settings = (
        "collection=mit_states",
        f"collection.root={colours}",
        "instances=feedback_tasks",
        "instances.task=changed",
        "instances.properties=name",
        "backbone=torchscript",
        f"backbone.checkpoint={colours / 'colours.pt'}",
        "backbone.image_size=64",
        "backbone.text_space=colours",
        "text=vocabulary",
        f"text.file={colours / 'colours.npz'}",
        "text.space=colours",
        "trainer.precision=32-true",
        "feedback.sizes=[2,4]",
        f"classifier@feedback.classifier={classifier}",
        *places(colours / "runs", colours / "stores"),
    )
    folders = {anchor: run((), *settings, f"feedback.anchor={anchor}")[0] for anchor in ("image", "text")}
    assert folders["image"] != folders["text"]
    judged = [pd.read_parquet(folder / "judged.parquet") for folder in folders.values()]
    assert judged[0].equals(judged[1])
    assert classifier in folders["text"].name

"""The program from Python: parts by name, boxes in pixels, names of images, arrays, and its errors."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import seekloop
from seekloop.contracts.errors import ConfigError, StoreError
from tests.worlds import blobs

OVERRIDES = ["representation=lo_all", "loop.budget=6"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twelve pictures of 40 x 20 pixels in a folder with a name that needs quotes, one of them in a folder below."""
    folder = tmp_path_factory.mktemp("photos") / "fêtes (2024), a=b"
    (folder / "below").mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (40, 20), (20 * number, 90, 255 - 20 * number)).save(folder / f"{number:02}.png")
    Image.new("RGB", (40, 20)).save(folder / "below" / "last.png")
    return folder


@pytest.fixture(scope="module")
def store(photographs, tmp_path_factory):
    stores = tmp_path_factory.mktemp("stores")
    return seekloop.describe(photographs, "backbone=tiny", "grid=2x2", f'store_dir="{stores}"')


def test_a_folder_is_described_and_its_images_have_names(store, photographs):
    assert store.images == 13
    assert store.collection.paths[-1] == "below/last.png"
    again = seekloop.describe(str(photographs), "backbone=tiny", "grid=2x2", f'store_dir="{store.folder.parent}"')
    assert again.folder == store.folder


def test_pixels_are_fractions_of_the_images_size(store):
    """(10, 5, 30, 20) of 40 x 20 pixels is (0.25, 0.25, 0.75, 1)."""
    by_pixels = seekloop.session(store, "below/last.png", OVERRIDES, pixels=(10, 5, 30, 20))
    by_fractions = seekloop.session(store, 12, OVERRIDES, fractions=(0.25, 0.25, 0.75, 1.0))
    other = seekloop.session(store, 12, OVERRIDES, fractions=(0.0, 0.0, 0.4, 0.4))
    assert torch.equal(by_pixels.scores, by_fractions.scores)
    assert not torch.equal(by_pixels.scores, other.scores)


def test_arrays_need_the_size_for_pixels():
    """(0, 0, 320, 240) of 640 x 480 pixels is the first of four cells, as the fractions say."""
    world = blobs(30).descriptors
    held = seekloop.describe(world.local, boxes=world.regions.boxes, global_descriptors=world.global_)
    by_pixels = seekloop.session(held, 0, OVERRIDES, pixels=(0, 0, 320, 240), size=(640, 480))
    cell = (0.0, 0.0, 0.5, 0.5)
    assert torch.equal(by_pixels.scores, seekloop.session(held, 0, OVERRIDES, fractions=cell).scores)
    assert torch.allclose(by_pixels.scores, seekloop.session(world, 0, OVERRIDES, fractions=cell).scores, atol=1e-5)
    with pytest.raises(ConfigError, match=r"pixels=.*size=\(width, height\)"):
        seekloop.session(held, 0, OVERRIDES, pixels=(0, 0, 320, 240))
    with pytest.raises(ConfigError, match=r"image='a.jpg'.*position"):
        seekloop.session(held, "a.jpg", OVERRIDES)


def test_what_is_given_twice_or_unknown_is_refused(store):
    with pytest.raises(ConfigError, match=r"fractions=.*Give one of them"):
        seekloop.session(store, 0, OVERRIDES, pixels=(0, 0, 9, 9), fractions=(0.0, 0.0, 0.5, 0.5))
    with pytest.raises(ConfigError, match=r"image='99.png'.*such as '00.png'"):
        seekloop.session(store, "99.png", OVERRIDES)
    with pytest.raises(ConfigError, match=r"source=.*regions="):
        seekloop.describe("photos", boxes=[[0, 0, 1, 1]])
    with pytest.raises(ConfigError, match=r"overrides=.*Leave them out"):
        seekloop.describe([[1.0, 2.0]], "backbone=tiny")


def test_annotations_of_objects():
    """Two objects in image 3, the larger of which is the cat's largest; a class name may be any text."""
    boxes = [[0, 0, 0.5, 0.5], [0, 0, 1, 1], [0, 0, 0.1, 0.1]]
    known = seekloop.annotations(["cat", "cat", "7"], [3, 3, 0], boxes)
    assert known.classes == ("7", "cat")
    assert known.largest_box(3, 1).tolist() == [0, 0, 1, 1]
    assert known.relevance(4).int().tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]


def test_a_simulation_over_arrays_finds_what_is_there():
    """Blobs are separable: once both kinds of answers are there, every average precision is 1."""
    world = blobs(60)
    rounds = seekloop.simulate(
        world.descriptors, world.annotations, "representation=go", "loop.queries=2", "loop.rounds=2", "loop.budget=8"
    )
    assert rounds.groupby("round")["labels"].unique().map(list).to_dict() == {0: [6], 1: [14], 2: [22]}
    assert (rounds["ap"] == 1).all()


def test_annotations_of_more_images_than_descriptors_are_refused():
    world = blobs(40, classes=("star",))
    known = seekloop.annotations(["star"] * 41)
    with pytest.raises(ConfigError, match=r"annotations='image 40' .*of 41 images or more, and .* there of 40"):
        seekloop.simulate(world.descriptors, known, "representation=go")


def test_a_search_is_kept_and_goes_on(store, tmp_path):
    """Two answers, an open question, another process's turn: the same question and scores; then one answer less."""
    overrides, folder = [*OVERRIDES, "loop.budget=2"], tmp_path / "search.sqlite"
    with (
        pytest.raises(ConfigError, match="holds no search yet"),
        seekloop.saved_session(folder, store, None, overrides),
    ):
        pass
    with seekloop.saved_session(folder, store, "00.png", overrides, fractions=(0.0, 0.0, 0.5, 1.0)) as search:
        start = search.scores
        search.answer({item.image: True for item in search.ask()})
        asked, scores = search.ask(), search.scores
    with seekloop.saved_session(folder, store, overrides=overrides, criteria=["top"]) as search:
        assert search.ask() == asked
        assert torch.equal(search.scores, scores)
        assert asked[0].path == store.collection.paths[asked[0].image]
        search.use("top")
        search.undo()
        search.undo()
        assert torch.equal(search.scores, start)


def test_a_search_begins_with_words():
    """Stars lie around +e_1, the vector of the words: the first half of the ranking is all stars before any answer."""
    world = blobs(40)
    stars = world.relevant[0]
    words = {"words": "a star", "vector": np.eye(8)[0]}
    search = seekloop.session(world.descriptors, None, ["representation=go", "loop.negatives=0"], **words)
    assert stars[search.ranking(20)].all()
    assert (search.query.text.words, search.query.examples) == ("a star", ())
    search.answer({item.image: bool(stars[item.image]) for item in search.ask()})
    assert stars[search.ranking(20)].all()
    with_image = seekloop.session(world.descriptors, 0, ["representation=go", "prior.source=text"], **words)
    assert with_image.query.first.image == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "image=None cannot work: a search begins with an image or with words"),
        ({"words": "a star"}, r"words='a star' cannot work: no encoder of texts is chosen"),
        ({"words": "a star", "vector": [1.0, 0.0]}, r"vector='array of shape \(2,\)'.*Give shape \(8,\)"),
        ({"vector": [1.0] * 8, "fractions": (0, 0, 1, 1)}, "there is a box, but no image"),
        ({"image": 0, "overrides": ["loop.negatives=0"]}, "negatives=0 cannot work: .*or a loop with a prior"),
    ],
)
def test_a_search_that_cannot_begin_is_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        seekloop.session(blobs(20).descriptors, **given)


def test_a_search_goes_on_over_descriptors_of_the_same_kind(store, photographs, tmp_path):
    """A grid of one cell gives other regions than the one that the search began with."""
    with seekloop.saved_session(tmp_path / "search.sqlite", store, "00.png", OVERRIDES) as search:
        search.answer({item.image: True for item in search.ask()})
    coarse = seekloop.describe(photographs, "backbone=tiny", "grid=1x1", f'store_dir="{store.folder.parent}"')
    with (
        pytest.raises(StoreError, match="began with another descriptors"),
        seekloop.saved_session(tmp_path / "search.sqlite", coarse, overrides=OVERRIDES),
    ):
        pass


def test_with_an_index_only_criteria_of_scores_are_taken():
    """The criterion is refused before it is an event, so the search asks what it would have asked."""
    overrides = ["representation=go", "store.index=flat", "loop.budget=3"]
    search = seekloop.session(blobs(30).descriptors, 0, overrides, criteria=["typiclust", "top"])
    question = search.ask()
    with pytest.raises(ConfigError, match=r"Typiclust looks at more.*store.index=null"):
        search.use("typiclust")
    assert search.ask() == question
    search.use("top")
    search.use("uncertainty")  # the loop's own
    assert [item.image for item in search.ask()] == [item.image for item in question]


def test_no_runs_are_an_empty_table(tmp_path):
    assert isinstance(seekloop.runs(tmp_path), pd.DataFrame)
    with pytest.raises(ConfigError, match="none of 0 finished runs"):
        seekloop.runs(tmp_path, "rounds")


def test_one_part_is_built_by_its_name_with_its_defaults():
    part = seekloop.build("criterion=typiclust")
    assert (type(part).__name__, part.shortlist, part.neighbours) == ("Typiclust", 20, 20)
    assert seekloop.build("criterion=typiclust", "criterion.neighbours=5").neighbours == 5
    assert type(seekloop.build("representation/local=one_rand")).__name__ == "OneRand"
    assert seekloop.build("representation=gl_pool_all").fusion.uses_global
    assert seekloop.build("propagation=released").kind == "sum"  # of a command other than retrieve
    assert seekloop.build("pretraining=none") is None
    assert seekloop.build("detector=claid", "detector.alpha=0.3").alpha == 0.3
    assert type(seekloop.build("detector=lost")).__name__ == "Lost"
    known = seekloop.annotations(["star", None])
    assert seekloop.build("user=simulated", annotations=known, seed=0, draws_boxes=False).annotations is known


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Begin with group=entry. Groups: collection, registers, backbone"),
        (("critrion=top",), "it is no group of parts"),
        (("criterion=typiclust", "criterion.neighbours=0"), "criterion.neighbours=0 cannot work: "),
        (
            ("criterion=top", "+criterion.below=1"),
            "criteria.scores.Top takes no such argument. It takes: nothing",
        ),
        (
            ("user=simulated",),
            "simulated_user.SimulatedUser needs it. Give it: build('user=simulated', annotations=...).",
        ),
        (("wandb=default",), "build='wandb=default' cannot work: wandb is a group of keys, and no part"),
        (("registers=none",), "registers is a group of keys, and no part"),
        (("criterion=typiclus",), "criterion='typiclus' cannot work: there is no such entry. Did you mean typiclust?"),
        (("detector=clade",), "detector='clade' cannot work: there is no such entry. Did you mean claid?"),
    ],
)
def test_what_cannot_be_built_is_told(words, told):
    with pytest.raises(ConfigError) as raised:
        seekloop.build(*words)
    assert told in str(raised.value)


def test_the_loop_and_a_search_of_ones_own_are_built_from_the_same_words():
    world = blobs(40, classes=("star",))
    star = int(world.relevant[0].nonzero()[0, 0])
    loop = seekloop.build_loop(world.descriptors, "representation=gl_concat_all", "criterion=top")
    search = seekloop.session(world.descriptors, star, ["representation=gl_concat_all", "criterion=top"])
    assert loop.representation == search.loop.representation
    assert type(search.loop.criterion).__name__ == "Top"
    with pytest.raises(ConfigError, match="nothing reads it"):
        seekloop.build_loop(world.descriptors, "+lop.budget=3")


def test_a_criterion_that_no_search_can_use_is_refused_before_anything_is_asked(tmp_path):
    """One for classification, in a new search and in one that is opened again."""
    store, overrides = blobs(30).descriptors, ["representation=go", "loop.budget=2"]
    with seekloop.saved_session(tmp_path / "search.sqlite", store, 0, overrides) as search:
        search.ask()
    with pytest.raises(ConfigError, match="only `seekloop learn` has"):
        seekloop.session(store, 0, [*overrides, "criterion=margin"])
    reopened = seekloop.saved_session(tmp_path / "search.sqlite", store, None, [*overrides, "criterion=margin"])
    with pytest.raises(ConfigError, match="only `seekloop learn` has"), reopened:
        pass


def test_a_person_is_asked_by_pf_mmr_unless_a_criterion_is_named():
    store = blobs(30).descriptors
    chosen = [
        seekloop.session(store, 0, ["representation=go", *words]).loop.criterion for words in ([], ["criterion=top"])
    ]
    assert [type(one).__name__ for one in chosen] == ["PfMmr", "Top"]


def test_a_search_that_changed_its_criterion_says_how_to_open_it(tmp_path):
    store, overrides = blobs(30).descriptors, ["representation=go", "loop.budget=2"]
    with seekloop.saved_session(tmp_path / "search.sqlite", store, 0, overrides, criteria=["top"]) as search:
        search.use("top")
    reopened = seekloop.saved_session(tmp_path / "search.sqlite", store, None, overrides)
    with pytest.raises(ValueError, match=r"open it with criteria=\['top'\]"), reopened:
        pass

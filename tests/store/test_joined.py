"""A collection's descriptors with a few further images behind them, against one store of all images."""

import pytest
import torch

from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import Regions
from seekloop.descriptors.whitening import Whitened, learn_centring
from seekloop.loop.session import Session
from seekloop.loop.vectors import recipe_of
from seekloop.representations.fusion import Concat, NoFusion
from seekloop.representations.local import All, OneProto
from seekloop.representations.representation import Representation
from seekloop.store.arrays import ArrayDescriptors
from seekloop.store.joined import Joined
from seekloop.store.reader import MappedBlock, open_store
from tests.loop.parts import GO, loop
from tests.store.stores import complete, manifest
from tests.worlds import blobs

IMAGES, BEHIND = 40, 3


def part_of(whole, first, end):
    """Some images of descriptors in memory, as descriptors of their own."""
    rows = slice(int(whole.offsets[first]), int(whole.offsets[end]))
    regions = whole.regions
    if regions.offsets is not None:
        regions = Regions(regions.boxes[rows], whole.offsets[first : end + 1] - whole.offsets[first])
    return ArrayDescriptors(whole.global_[first:end], whole.local[rows], regions, whole.readable[first:end])


def world(ragged):
    """All images as one, and the same images with the last three from outside."""
    source, split = blobs(IMAGES, ragged=ragged).descriptors, IMAGES - BEHIND
    return part_of(source, 0, IMAGES), Joined(part_of(source, 0, split), part_of(source, split, IMAGES))


@pytest.mark.parametrize("ragged", [False, True])
def test_any_images_in_any_order_are_those_of_one_store(ragged):
    """Among them: from both in turn, one twice, the last alone, none."""
    whole, joined = world(ragged)
    assert isinstance(joined, Descriptors)
    for images in ([39, 0, 38, 5, 5, 37], [3, 1], [39], [36, 37], []):
        wanted, found = (one.read(torch.tensor(images, dtype=torch.long), local=True) for one in (whole, joined))
        for part in ("image", "global_", "local", "offsets"):
            assert torch.equal(getattr(found, part), getattr(wanted, part)), (images, part)
    assert joined.read(torch.tensor([39, 0]), local=False).local is None
    assert all(torch.equal(joined.regions.of(image), whole.regions.of(image)) for image in range(IMAGES))


def rounds(descriptors, representation, precision):
    """Scores after each of three rounds, of a search from an example that is the last image."""
    session = Session.start(loop(descriptors, representation, precision=precision), 39, (0, 0, 0.5, 0.5), budget=4)
    scores = [session.scores]
    for _ in range(3):
        session.answer({item.image: item.image % 2 == 0 for item in session.ask()})
        scores.append(session.scores)
    return torch.stack(scores)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "representation", [GO, Representation(All(), NoFusion()), Representation(OneProto(), Concat())]
)
def test_a_search_over_both_gives_the_scores_of_one_store_bit_for_bit(ragged, precision, representation):
    whole, joined = world(ragged)
    assert torch.equal(rounds(joined, representation, precision), rounds(whole, representation, precision))


def test_the_first_is_read_from_its_files_and_a_search_differs_by_rounding_only(tmp_path):
    """A half-precision store: blocks of its images alone stay mapped; others are brought together in float32."""
    whole = blobs(IMAGES).descriptors
    values = whole.global_.half().float(), whole.local.half().float()
    stores = []
    for name, first, end in (("whole", 0, 40), ("first", 0, 37), ("second", 37, 40)):
        described = manifest(images=end - first, dim=8, shard=16, dtype="float16")
        complete(tmp_path / name, described, values[0][first:end], values[1][4 * first : 4 * end])
        stores.append(open_store(tmp_path / name, None))
    joined = Joined(*stores[1:])
    assert isinstance(joined.read(torch.arange(37), local=True), MappedBlock)
    assert not isinstance(joined.read(torch.arange(38), local=True), MappedBlock)
    representation = Representation(All(), NoFusion())
    found, wanted = (rounds(one, representation, "float32") for one in (joined, stores[0]))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_an_unreadable_image_from_outside_ranks_last():
    whole = blobs(6).descriptors
    readable = torch.tensor([True, False])
    two = ArrayDescriptors(whole.global_[:2], whole.local[:8], whole.regions, readable)
    session = Session.start(loop(Joined(whole, two)), 0, budget=2, negatives=2)
    assert session.scores.isinf().nonzero()[:, 0].tolist() == [7]
    assert session.ranking()[-1] == 7


def test_a_recipe_says_which_images_and_without_them_is_that_of_the_first(tmp_path):
    """So an example from outside may be added to a search that has begun, and an index of both is another one."""
    arrays = Recipe("arrays", {})
    described = manifest(images=4, shard=2, content={"who": "tests", "collection": "a"})
    complete(tmp_path / "a", described, torch.eye(4, 2) + 1, torch.ones(16, 2))
    other = manifest(images=4, shard=2, content={"who": "tests", "collection": "b"})
    complete(tmp_path / "b", other, torch.eye(4, 2) + 1, torch.ones(16, 2))
    a, b = open_store(tmp_path / "a", None), open_store(tmp_path / "b", None)
    both = recipe_of(Joined(a, b), arrays)
    assert len({both.key, a.recipe.key, recipe_of(Joined(a, a), arrays).key, recipe_of(Joined(b, a), arrays).key}) == 4
    assert both.without("collection") == a.recipe.without("collection")
    whitening = learn_centring(torch.eye(2))
    outside, inside = Whitened(Joined(a, b), whitening), Joined(Whitened(a, whitening), Whitened(b, whitening))
    plain = recipe_of(Whitened(a, whitening), arrays).without("collection")
    assert recipe_of(outside, arrays).without("collection") == plain
    assert recipe_of(inside, arrays).without("collection") == plain


def test_descriptors_that_do_not_fit_are_refused():
    plain, ragged = blobs(4).descriptors, blobs(4, ragged=True).descriptors
    with pytest.raises(ValueError, match="8 and of 9 dimensions"):
        Joined(plain, blobs(4, dim=9).descriptors)
    with pytest.raises(ValueError, match="other fixed regions"):
        Joined(plain, blobs(4, grid=(1, 2)).descriptors)
    with pytest.raises(ValueError, match="each image's own"):
        Joined(plain, ragged)

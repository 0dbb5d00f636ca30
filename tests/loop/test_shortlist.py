import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seekloop.classifiers.nearest import NearestNeighbour
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.plain import view_of
from seekloop.contracts.recipe import Recipe
from seekloop.contracts.records import CandidateView, Example, Query, Regions, Text
from seekloop.contracts.scorers import LinearScorer
from seekloop.criteria.descriptors import CoreSet
from seekloop.criteria.marginal_relevance import PfMmr
from seekloop.criteria.scores import Mixed, PfMa, Random, Top, Uncertainty
from seekloop.loop.engine import Loop
from seekloop.loop.prior import Prior
from seekloop.loop.shortlist import Shortlist, ShortlistSizes, require_by_score, require_linear
from seekloop.loop.vectors import ClassifiedVectors
from seekloop.representations.fusion import Concat, NoFusion, Pool
from seekloop.representations.local import All, GlobalOnly, OneProto
from seekloop.representations.representation import Representation
from seekloop.store.index import Found, Index, open_index
from seekloop.store.index_settings import IndexSettings
from tests.loop.parts import MeanDifference
from tests.worlds import ArrayDescriptors, blobs, grid_boxes

pytest.importorskip("faiss", reason="faiss is not installed")
GO = Representation(GlobalOnly(), NoFusion())
LO = Representation(All(), NoFusion())
REPRESENTATIONS = [
    GO,
    LO,
    Representation(OneProto(renorm=False), NoFusion()),
    Representation(OneProto(renorm=True), Concat(keep_pos_negatives=False, renorm=False)),
    Representation(All(), Concat(keep_pos_negatives=False, renorm=False)),
    Representation(All(), Concat(keep_pos_negatives=False, renorm=True)),
    Representation(All(), Pool(keep_pos_negatives=False, renorm=False)),
    Representation(All(), Pool(keep_pos_negatives=False, renorm=True)),
]
CRITERIA = [Uncertainty(), Top(), PfMa(), Mixed(exploit_start=0.5, exploit_end=0.0, rounds=4)]
NAMED = {"ids": lambda r: f"{type(r.local).__name__}-{type(r.fusion).__name__}"}


def index_of(descriptors, representation, kind="flat", **changes):
    usual = {"nlist": 4, "nprobe": 1, "pq_m": 2, "pq_bits": 4, "hnsw_m": 8, "hnsw_ef": 16}
    vectors = ClassifiedVectors(descriptors, representation, Recipe("arrays", {}))
    return open_index(vectors, IndexSettings(kind, **usual | changes), None, lambda _: None)


class Searching:
    """A shortlist over a world, with the functions that a loop would give it."""

    def __init__(self, descriptors, representation, criterion, candidates=4, limit=1.0, kind="flat", **changes):
        self.descriptors, self.representation = descriptors, representation
        self.index = index_of(descriptors, representation, kind, **changes)
        self.shortlist = Shortlist(self.index, criterion, ShortlistSizes(candidates, limit))

    def search(self, scorer, candidate, number, budget, scan, **seen):
        return self.shortlist.search(scorer, candidate, number, budget, self.score, scan, **seen)

    def score(self, scorer, images):
        block = self.descriptors.read(images, local=self.representation.local.uses_regions)
        return scorer.of_block(block, self.representation)


def exact_scores(descriptors, representation, scorer):
    block = descriptors.read(torch.arange(descriptors.images), local=representation.local.uses_regions)
    return scorer.of_block(block, representation).masked_fill(~descriptors.readable, -torch.inf)


def never(queries):
    raise AssertionError(f"queries {queries.tolist()} need not be scanned")


def on_a_line(scores, regions):
    """Images whose regions score these under w = (2, 0), intercept 1: x = (score - 1) / 2, on the unit circle."""
    x = (torch.tensor(scores) - 1) / 2
    points = torch.stack([x, (1 - x**2).sqrt()], dim=1)
    whole = points.view(-1, regions, 2)[:, 0]
    return ArrayDescriptors(whole, points, Regions(grid_boxes(1, regions), None))


LINE = LinearScorer(torch.tensor([[2.0, 0.0]]), torch.tensor([1.0]))


def test_the_certificate_by_hand():
    """Best regions score 0.3, 0.1, -0.2, -0.6, each image's other region -0.9. Two images nearest to 0: 1 and 2.

    The first two regions found are of images 0 and 1 (0.3, 0.1), and the picks among them 1 and 0. Image 2 is not yet
    on the list and would be a better second pick, so nobody may stop here; but stops would
    - who compares the lowest score with the last pick itself: 0.1 < 0.3;
    - who forgets the intercept: 0.1 - 1 = -0.9 < -0.3;
    - who looks at all regions of the listed images instead of those found: -0.9 < -0.3.
    Twice as many regions end at -0.6, below the mirror image of the last pick, -0.2: images 1 and 2.
    """
    descriptors = on_a_line([0.3, -0.9, 0.1, -0.9, -0.9, -0.2, -0.6, -0.9], regions=2)
    search = Searching(descriptors, LO, Uncertainty(), candidates=2)
    found = search.search(LINE, torch.ones(1, 4, dtype=torch.bool), 0, 2, never)
    assert found.picks.tolist() == [[1, 2]]
    assert found.certified.tolist() == [True]
    assert found.listed.tolist() == [[True] * 4]
    torch.testing.assert_close(found.scores, torch.tensor([[0.3, 0.1, -0.2, -0.6]]))


class RoundingIndex(Index):
    """Three images of one vector each, found in this order with these products, as float32 may have rounded them."""

    def __init__(self, products):
        self.products, self.rows, self.norm = products, 3, 2.0

    def search(self, weights, k, widening):
        return Found(torch.tensor([self.products[:k]]), torch.arange(k)[None], exact=True, final=k == self.rows)


@pytest.mark.parametrize(("below", "picks", "length"), [(0.0, [0, 2], 3), (6e-6, [0, 2], 3), (7e-6, [0, 1], 2)])
def test_what_rounding_may_have_hidden_is_looked_at(below, picks, length):
    """The bound: d = 2, |w| = 2, the longest vector 2, intercept 1: (3 x 2 + 16) x 2^-24 x (2 x 2 + 1) = 6.6e-6.

    Exact scores are 0.5, 0.3 and 0.300001, so images 0 and 2 are the best two. The index finds image 1 before image 2
    and puts it `below` its exact score: by that alone nothing outside reaches 0.3, and one would stop at images 0 and
    1. At 6e-6 rounding may still have hidden image 2, so it is looked at. At 7e-6 it cannot, and the list stays short.
    A bound without the vector's length would be 3.9e-6, one without the intercept 5.2e-6.
    """
    exact = torch.tensor([[0.5, 0.3, 0.300001]])
    index = RoundingIndex([0.5 - 1, 0.3 - 1 - below, 0.3 - 1 - below])
    shortlist = Shortlist(index, Top(), ShortlistSizes(candidates=2, limit=1.0))
    everything = torch.ones(1, 3, dtype=torch.bool)
    found = shortlist.search(LINE, everything, 0, 2, lambda _, images: exact[:, images], never)
    assert found.picks.tolist() == [picks]
    assert (found.length.tolist(), found.certified.tolist()) == ([length], [True])


def test_what_is_far_below_is_never_scored():
    descriptors = on_a_line([0.3, 0.1, -0.2, -0.6, -0.7, -0.8, -0.9], regions=1)
    found = Searching(descriptors, GO, Uncertainty()).search(LINE, torch.ones(1, 7, dtype=torch.bool), 0, 2, never)
    assert found.listed.tolist() == [[True] * 4 + [False] * 3]
    assert found.scores[0, 4:].tolist() == [-torch.inf] * 3
    assert (found.length.tolist(), found.scanned.tolist()) == ([4], [False])
    assert found.seconds[0] > 0


@pytest.mark.parametrize(
    ("criterion", "floor"),
    [
        (Uncertainty(), -0.4),  # picks -0.1, 0.2, 0.3, 0.4: the mirror image of the one farthest from the boundary
        (Top(), -0.1),  # picks 0.4 to -0.1: the lowest
        (PfMa(), -0.1),  # a pick below the boundary: the lowest
        (Mixed(exploit_start=0.5, exploit_end=0.5, rounds=1), -0.2),  # top: 0.4, 0.3; uncertain: -0.1, 0.2
    ],
)
def test_floors_by_hand(criterion, floor):
    assert criterion.floor(view_of(torch.tensor([0.4, 0.3, -0.1, 0.2, -0.7])), 4).tolist() == pytest.approx([floor])


def test_all_likely_images_matter_to_pf_ma():
    """Picks 0.1 and 0.3 on the positive side: one at 0.05 would come before both, one at -0.05 after both."""
    assert PfMa().floor(view_of(torch.tensor([0.1, 0.3, 0.5])), 2).tolist() == [0.0]


def world(seed, images=30, dim=5, ragged=False, unreadable=0):
    rng = torch.Generator().manual_seed(seed)
    cells = grid_boxes(2, 2)
    counts = torch.randint(0, 5, (images,), generator=rng) if ragged else torch.full((images,), 4)
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    regions = Regions(cells[torch.cat([torch.arange(c) for c in counts.tolist()])], offsets)
    readable = torch.ones(images, dtype=torch.bool)
    readable[torch.randperm(images, generator=rng)[:unreadable]] = False
    whole = torch.randn(images, dim, generator=rng) + 0.3
    local = torch.randn(int(offsets[-1]), dim, generator=rng) + 0.3
    return ArrayDescriptors(whole, local, regions if ragged else Regions(cells, None), readable)


def scorer_of(seed, q, dim):
    rng = torch.Generator().manual_seed(seed)
    return LinearScorer(torch.randn(q, dim, generator=rng), torch.randn(q, generator=rng))


def assert_same_picks(found, scores, view, criterion, budget):
    """Equal, or of equal scores as far as float32 can tell."""
    exact = criterion(view, budget, ())
    differ = exact != found.picks
    mine, theirs = scores.gather(1, found.picks)[differ], scores.gather(1, exact)[differ]
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("representation", REPRESENTATIONS, **NAMED)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), criterion=st.sampled_from(CRITERIA), ragged=st.booleans(), data=st.data())
def test_an_exact_index_certifies_the_picks_of_an_exact_scan(representation, seed, criterion, ragged, data):
    """The law: whatever is listed, an exact scan picks the same, and listed images have their exact scores."""
    descriptors = world(seed, ragged=ragged, unreadable=data.draw(st.integers(0, 3)))
    kind = data.draw(st.sampled_from(["flat", "ivf"]))
    search = Searching(
        descriptors, representation, criterion, candidates=data.draw(st.integers(1, 40)), kind=kind, nprobe=4
    )
    q, n = 3, descriptors.images
    scorer = scorer_of(seed, q, search.index._index.d)
    scores = exact_scores(descriptors, representation, scorer)
    candidate = descriptors.readable & (torch.rand(q, n, generator=torch.Generator().manual_seed(seed)) < 0.8)
    budget, number = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 5))
    found = search.search(scorer, candidate, number, budget, lambda queries: scores[queries])
    assert found.certified.all()
    torch.testing.assert_close(found.scores[found.listed], scores[found.listed])
    assert bool((found.scores[~found.listed] == -torch.inf).all())
    answers = torch.zeros(q, n, dtype=torch.int8)
    assert_same_picks(found, scores, CandidateView(scores, candidate, answers, lambda: None, number), criterion, budget)


@pytest.mark.parametrize("order", ["pf_ma", "top", "uncertainty"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_criterion_that_looks_at_vectors_and_answers_picks_as_from_an_exact_scan(order, seed):
    """PF-MMR sees the answered images of each query, listed or not, and the vectors of its own shortlist."""
    descriptors = world(seed, images=80)
    vectors = torch.nn.functional.normalize(descriptors.read(torch.arange(80), local=False).global_, dim=1)
    criterion = PfMmr(shortlist=3, share=0.5, order=order)
    scorer = scorer_of(seed, 3, descriptors.dim)
    scores = exact_scores(descriptors, GO, scorer)
    answers = torch.randint(-1, 2, (3, 80), generator=torch.Generator().manual_seed(seed))
    answers[:, 20:] = 0
    candidate = answers == 0

    def read(_, images, kind):
        assert kind == "global"
        return vectors[images]

    search = Searching(descriptors, GO, criterion, candidates=10)
    seen = {"answers": answers, "read_vectors": read}
    found = search.search(scorer, candidate, 0, 4, lambda queries: scores[queries], **seen)
    exact = criterion(CandidateView(scores, candidate, answers, lambda: vectors, 0), 4, ())
    assert torch.equal(found.picks, exact)
    assert found.certified.all()


def test_each_query_grows_as_far_as_it_must():
    """Query 0 finds its boundary among the first vectors, query 1 (w turned around) behind nearly all of them."""
    scores = torch.linspace(-0.9, 0.3, 64).flip(0)
    descriptors = on_a_line(scores.tolist(), regions=1)
    scorer = LinearScorer(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]), torch.tensor([1.0, -1.0]))
    search = Searching(descriptors, GO, Uncertainty(), candidates=20)
    found = search.search(scorer, torch.ones(2, 64, dtype=torch.bool), 0, 1, never)
    assert found.length.tolist() == [20, 64]
    assert found.picks[0] == found.picks[1] == scores.abs().argmin()


def test_past_the_limit_the_scan_is_exact_and_only_for_those_who_need_it():
    scores = torch.linspace(-0.9, 0.3, 64).flip(0)
    descriptors = on_a_line(scores.tolist(), regions=1)
    scorer = LinearScorer(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]), torch.tensor([1.0, -1.0]))
    scanned = []

    def scan(queries):
        scanned.append(queries.tolist())
        return exact_scores(descriptors, GO, scorer)[queries]

    search = Searching(descriptors, GO, Uncertainty(), candidates=20, limit=0.5)
    found = search.search(scorer, torch.ones(2, 64, dtype=torch.bool), 0, 1, scan)
    assert scanned == [[1]]
    assert found.scanned.tolist() == [False, True]
    assert found.certified.tolist() == [True, True]
    assert found.length.tolist() == [20, 64]
    assert found.picks[1] == scores.abs().argmin()


@pytest.mark.parametrize("kind", ["pq", "ivfpq", "ivf", "hnsw"])
def test_an_approximate_index_is_never_called_certain(kind):
    """Unless everything was listed, or scanned: then it is."""
    descriptors = world(3, images=400, dim=8)
    scorer = scorer_of(0, 8, 8)
    search = Searching(descriptors, LO, Top(), candidates=40, kind=kind)
    scores = exact_scores(descriptors, LO, scorer)
    found = search.search(scorer, torch.ones(8, 400, dtype=torch.bool), 0, 3, lambda queries: scores[queries])
    partial = found.length < 400
    assert partial.any()
    assert not (found.certified & ~found.scanned & partial).any()
    torch.testing.assert_close(found.scores[found.listed], scores[found.listed])


def test_labelled_images_are_ranked_but_not_picked():
    descriptors = on_a_line([0.3, 0.1, -0.2, -0.6, -0.7], regions=1)
    candidate = torch.tensor([[True, False, True, True, True]])
    found = Searching(descriptors, GO, Uncertainty()).search(LINE, candidate, 0, 2, never)
    assert found.picks.tolist() == [[2, 0]]
    assert found.scores[0, 1] == pytest.approx(0.1)


def test_with_nothing_left_to_ask_the_first_proposals_are_ranked():
    descriptors = on_a_line([0.3, 0.1, -0.2, -0.6, -0.7], regions=1)
    found = Searching(descriptors, GO, Uncertainty(), 3).search(LINE, torch.zeros(1, 5, dtype=torch.bool), 0, 0, never)
    assert found.picks.shape == (1, 0)
    assert found.length.tolist() == [3]


def test_images_without_regions_are_reached_by_a_scan():
    """Two images, one without regions: whoever asks about both must be given both."""
    regions = Regions(grid_boxes(1, 1), torch.tensor([0, 1, 1]))
    descriptors = ArrayDescriptors(torch.ones(2, 2), torch.ones(1, 2), regions)
    scores = exact_scores(descriptors, LO, LINE)
    search = Searching(descriptors, LO, Uncertainty())
    found = search.search(LINE, torch.ones(1, 2, dtype=torch.bool), 0, 2, lambda queries: scores[queries])
    assert (found.picks.tolist(), found.scanned.tolist()) == ([[0, 1]], [True])


@pytest.mark.parametrize("criterion", [CoreSet(), Random()], ids=lambda c: type(c).__name__)
def test_criteria_that_look_at_more_than_scores_are_refused(criterion):
    with pytest.raises(
        ConfigError, match=r"Use criterion=uncertainty, top, pf_ma, pf_mmr or mixed, or store\.index=null"
    ):
        require_by_score(criterion)


def test_classifiers_without_a_hyperplane_are_refused():
    require_linear(MeanDifference())
    with pytest.raises(ConfigError, match="classifier='NearestNeighbour' cannot work"):
        require_linear(NearestNeighbour())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"candidates": 0}, "candidates=0"), ({"limit": 0.0}, "limit=0.0"), ({"limit": 1.5}, "limit=1.5")],
)
def test_sizes_without_meaning_are_refused(sizes, message):
    with pytest.raises(ConfigError, match=message):
        Searching(on_a_line([0.3, 0.1], regions=1), GO, Top(), **sizes)


@pytest.mark.parametrize("representation", REPRESENTATIONS, **NAMED)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), ragged=st.booleans())
def test_the_best_of_an_images_vectors_is_its_score(representation, seed, ragged):
    """A law: the maximum over an image's vectors of w . x + b is what the representation says; -inf without vectors."""
    descriptors = world(seed, ragged=ragged, unreadable=2)
    vectors = ClassifiedVectors(descriptors, representation, Recipe("arrays", {}))
    rows, owner = vectors.read(torch.arange(descriptors.images))
    assert rows.shape == (vectors.rows, vectors.dim)
    scorer = scorer_of(seed, 2, vectors.dim)
    best = torch.full((2, descriptors.images), -torch.inf)
    best.scatter_reduce_(1, owner.expand(2, -1), scorer.scores(rows), "amax")
    torch.testing.assert_close(best, exact_scores(descriptors, representation, scorer))


def test_strategies_that_score_the_same_regions_share_an_index():
    descriptors = world(0)
    known = Recipe("descriptors", {"store": "a"})
    keys = {ClassifiedVectors(descriptors, representation, known).recipe.key for representation in REPRESENTATIONS}
    assert len(keys) == len(REPRESENTATIONS)
    dropped, kept = (
        ClassifiedVectors(descriptors, Representation(All(), Concat(keep_pos_negatives=keep, renorm=False)), known)
        for keep in (False, True)
    )
    assert dropped.recipe == kept.recipe


@pytest.mark.parametrize(("kind", "exact"), [("flat", True), ("ivf", False)])
def test_words_and_answers_side_by_side_are_searched_for_in_an_index(kind, exact):
    """Of three searches the first two begin with words, the last with an example, so that it alone has a boundary.

    An image scores as its best vector. The flat index gives the picks of a scan; ivf, which looks into one of four
    clusters at first, most of them.
    """
    world = blobs(200, 8, classes=("star", "moon"), noise=0.6, seed=4)
    vectors = torch.eye(8)[:2] + 0.3 * torch.randn(2, 8, generator=torch.Generator().manual_seed(2))
    star, moon = (Text(name, vector) for name, vector in zip(("star", "moon"), vectors, strict=True))
    given = (Example(0, world.annotations.largest_box(0, 0)),)
    queries = (Query("star", 0, (), (2,), star), Query("moon", 0, (), (2,), moon), Query("star", 1, given, (2,), star))
    picks = []
    for lists in (None, Shortlist(index_of(world.descriptors, LO, kind), Uncertainty(), ShortlistSizes(4, 1.0))):
        machine = Loop(world.descriptors, LO, MeanDifference(), Uncertainty(), shortlist=lists, prior=Prior())
        state = machine.update(machine.start(queries, [0.0] * 3), budget=5, compare=True)
        assert state.fitted == (2,)
        picks.append(machine.propose(state, budget=5).image)
    best = world.descriptors.local @ torch.nn.functional.normalize(vectors, dim=1).T
    best = best.view(200, 4, 2).amax(dim=1)
    best[2] = -torch.inf
    assert picks[0][:2].tolist() == best.T.topk(5, dim=1).indices.tolist()
    same = (picks[0][:, :, None] == picks[1][:, None]).any(dim=2).float().mean()
    assert same == 1 if exact else same >= 0.6

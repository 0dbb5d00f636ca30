"""Contract tests of components, for those from outside as for our own: each check says what is broken.

Call them from a test of your own: `check_criterion(MyCriterion())`. Everything they show a component is small, and made
up on the spot.
"""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from seekloop.contracts.boxes import degenerate
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Backbone, Classifier, Collection, Criterion, KnowsContents, Scorer
from seekloop.contracts.records import Answer, ArrayBlock, CandidateView, Feedback, TrainingRows
from seekloop.contracts.scorers import LinearScorer
from seekloop.loop.questions import choose
from seekloop.representations.representation import Representation

QUERY_FIELDS = ("scores", "candidate", "answers", "probabilities")


def require(holds: object, fault: str) -> None:
    """Raise an assertion with these words unless something holds.

    Raises:
        AssertionError: if it does not.
    """
    if not holds:
        raise AssertionError(fault)


def crowd(queries: int, images: int, seed: int, dtype: torch.dtype = torch.float64) -> CandidateView:
    """A realistic view: clustered descriptors, scores with ties, some images answered, some unreadable."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 6, generator=rng, dtype=dtype)
    descriptors = centres[torch.randint(5, (images,), generator=rng)]
    descriptors = F.normalize(descriptors + 0.3 * torch.randn(descriptors.shape, generator=rng, dtype=dtype), dim=1)
    scores = torch.randint(-9, 9, (queries, images), generator=rng).to(dtype) / 4
    answers = torch.zeros(queries, images, dtype=torch.long)
    for row in answers:
        asked = torch.randperm(images - 3, generator=rng)[:6] + 3
        row[asked] = torch.tensor([1, -1, -1, -1, -1, 1])
    descriptors[1] = 0
    scores[:, 1] = -torch.inf
    candidate = answers == 0
    candidate[:, 1] = False
    candidate[0, 0] = False  # answered "unsure" by the first query
    logits = torch.randint(-3, 3, (queries, images, 4), generator=rng).to(dtype)
    probabilities = logits.softmax(dim=2)
    return CandidateView(scores, candidate, answers, lambda: descriptors, 3, probabilities, rescore=first_entry)


def first_entry(_: int, vectors: Float[Tensor, "k d"]) -> Float[Tensor, " k"]:
    """A classifier that goes by the first entry of a vector, the same for every query."""
    return vectors[:, 0]


def generators(queries: int) -> list[Generator]:
    """One generator per query."""
    return [torch.Generator().manual_seed(query) for query in range(queries)]


def equal_images(images: int, answered: int) -> CandidateView:
    """A view of one image many times: equal scores, equal descriptors; the one at `answered` is irrelevant."""
    answers = torch.zeros(1, images, dtype=torch.long)
    answers[0, answered] = -1
    half = torch.full((1, images, 2), 0.5, dtype=torch.float64)
    scores, descriptors = torch.zeros(1, images, dtype=torch.float64), torch.ones(images, 1, dtype=torch.float64)
    return CandidateView(scores, answers == 0, answers, lambda: descriptors, 0, half, rescore=first_entry)


def check_criterion(criterion: Criterion, *, draws: bool = False) -> None:
    """Hold a criterion to its contract.

    It chooses as many distinct candidates as asked for, the same again with the same generators; queries do not depend
    on their company; everything that is left can be asked for; equal images go by position, unless it draws.

    Args:
        criterion: any.
        draws: whether ties may fall anywhere.

    Raises:
        AssertionError: naming the criterion and the rule.
        ConfigError: for a wrong choice, as in a run.
    """
    name = type(criterion).__name__
    require(isinstance(criterion, Criterion), f"{name} cannot be called")
    for budget, dtype in ((1, torch.float32), (4, torch.float64), (10, torch.float64), (5, torch.float32)):
        view = crowd(3, 60, budget, dtype)
        together = choose(criterion, view, budget, generators(3))
        again = choose(criterion, view, budget, generators(3))
        require(again.equal(together), f"{name} chooses otherwise the second time, with the same generators")
        for query in range(3):
            alone = slice(query, query + 1)
            single = dataclasses.replace(view, **{field: getattr(view, field)[alone] for field in QUERY_FIELDS})
            chosen = choose(criterion, single, budget, generators(3)[alone])
            require(chosen.equal(together[alone]), f"{name} chooses otherwise for a query without the other queries")
    view = crowd(2, 40, seed=2)
    left = int(view.candidate.sum(dim=1).min())
    choose(criterion, view, left, generators(2))
    chosen = choose(criterion, equal_images(20, 3), 6, generators(1))
    require(draws or chosen.tolist() == [[0, 1, 2, 4, 5, 6]], f"{name} does not break ties by the lower position")


def problem(
    size: int, dim: int, seed: int, positives: float = 0.3, spread: float = 1.0
) -> tuple[Float[Tensor, "r d"], Float[Tensor, " r"]]:
    """Rows of unit length, and labels: a shared mean, a class direction, a tenth of the rows twice."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.where(torch.rand(size, generator=rng) < positives, 1.0, -1.0)
    labels[0], labels[1:6] = 1.0, -1.0
    mean, direction = torch.randn(2, dim, generator=rng)
    rows = mean + 0.2 * labels[:, None] * direction + spread * torch.randn(size, dim, generator=rng)
    again = size // 10
    if again:
        rows[-again:], labels[-again:] = rows[:again], labels[:again]  # the same row twice
        rows[-again // 2 :] += 1e-4 * torch.randn(again - again // 2, dim, generator=rng)[: len(rows[-again // 2 :])]
    return F.normalize(rows, dim=1), labels


def batch(
    rows: Sequence[Tensor], labels: Sequence[Tensor], weights: Sequence[Tensor] | None = None, width: int = 0
) -> TrainingRows:
    """Rows of several queries as one padded batch, at least `width` wide."""
    pad = max(width, *(len(one) for one in labels))
    table = torch.stack([F.pad(one, (0, 0, 0, pad - len(one))) for one in rows])
    answer = torch.stack([F.pad(one, (0, pad - len(one))) for one in labels])
    factors = [torch.ones(len(one)) for one in labels] if weights is None else weights
    weight = torch.stack([F.pad(one, (0, pad - len(one))) for one in factors])
    return TrainingRows.padded(table, answer, weight, answer != 0, table[:, 0])


def check_classifier(classifier: Classifier, *, exact: bool = True, weighted: bool = True, draws: bool = False) -> None:
    """Hold a classifier that learns from labelled rows to its contract.

    Its scorer has a line per query; queries do not depend on their company; parts of a scorer are selected and joined;
    neither the order of rows, nor padding, nor rows of weight 0 matter; a row given twice is one of weight 2; easy rows
    are separated; rows stay as they are; the same rows give the same scores; one class only, and values that are not
    finite, are refused.

    Args:
        classifier: any.
        exact: whether queries fitted alone or together give the same bits; otherwise up to 1e-5.
        weighted: whether the weights of rows (but for 0) matter to it.
        draws: whether it draws among the rows: their order may matter then, and a row given twice need not be one of
            weight 2.

    Raises:
        AssertionError: naming the classifier and the rule.
    """
    require(isinstance(classifier, Classifier), f"{type(classifier).__name__} has no method fit")
    _check_queries(classifier, exact)
    _check_rows(classifier, weighted, draws)


def _near(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether scores agree relative to the largest of their query."""
    return bool(((found - wanted).abs() / wanted.abs().amax(dim=1, keepdim=True) <= tolerance).all())


def _close(found: Tensor, wanted: Tensor, tolerance: float, fault: str) -> None:
    """Require agreement relative to the largest score of a query."""
    require(_near(found, wanted, tolerance), fault)


def _images() -> Float[Tensor, "n d"]:
    return F.normalize(torch.randn(50, 24, generator=torch.Generator().manual_seed(9)), dim=1)


def _check_queries(classifier: Classifier, exact: bool) -> None:
    """Several queries together, alone, selected, joined, padded; and those that must be refused."""
    name, images = type(classifier).__name__, _images()
    parts = [problem(size, 24, seed) for seed, size in enumerate((6, 40, 17))]
    rows, labels = [one for one, _ in parts], [one for _, one in parts]
    everything = batch(rows, labels)
    before = [one.clone() for one in (everything.table, everything.labels, everything.weights)]
    scorer = classifier.fit(everything, None)
    together = scorer.scores(images)
    require(isinstance(scorer, Scorer), f"{name} gives no scorer (scores, of_block, select, join)")
    require(together.shape == (3, 50), f"{name} scores 50 descriptors of 3 queries as {tuple(together.shape)}")
    classifier.fit(everything, scorer)
    unchanged = zip(before, (everything.table, everything.labels, everything.weights), strict=True)
    require(all(one.equal(now) for one, now in unchanged), f"{name} changes the rows that it is given")
    single = [classifier.fit(batch([rows[q]], [labels[q]]), None) for q in range(3)]
    for query, part in enumerate(single):
        chosen = scorer.select(torch.tensor([query])).scores(images)
        company = f"{name}: a query's scores depend on the queries beside it"
        require(not exact or part.scores(images).equal(chosen), company)
        _close(part.scores(images), together[query : query + 1], 1e-5, company)
    joined, order = single[2].join([single[0], single[1]]), torch.tensor([1, 2, 0])
    _close(joined.scores(images), together[[2, 0, 1]], 1e-5, f"{name}: joined scorers score otherwise than their parts")
    _close(joined.select(order).scores(images), together, 1e-5, f"{name}: selected queries score otherwise than before")
    padded = classifier.fit(batch(rows, labels, width=45), None).scores(images)
    _close(padded, together, 1e-5, f"{name}: padding has an influence")
    one_class = batch(rows, [labels[0], torch.ones(40), labels[2]])
    _refused(lambda: classifier.fit(one_class, None), f"{name} accepts a query of one class")
    rows[1][3, 5] = torch.nan
    _refused(lambda: classifier.fit(batch(rows, labels), None), f"{name} accepts descriptors that are not finite")


def _check_rows(classifier: Classifier, weighted: bool, draws: bool) -> None:
    """Rows of one query in another order, given twice, with weights; and rows that are easy to separate."""
    name, images = type(classifier).__name__, _images()

    def scores(rows: Tensor, labels: Tensor, weights: Tensor | None = None) -> Float[Tensor, "q n"]:
        return classifier.fit(batch([rows], [labels], None if weights is None else [weights]), None).scores(images)

    x, y = problem(40, 24, seed=1)
    shuffled = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(39, generator=generators(1)[0])])
    plain = scores(x, y)
    require(scores(x, y).equal(plain), f"{name} gives other scores the second time")
    reordered = scores(x[shuffled], y[shuffled])
    require(draws or _near(reordered, plain, 1e-3), f"{name}: the order of rows matters")
    silent = scores(x, y, (torch.arange(40) < 20).float())
    _close(silent, scores(x[:20], y[:20]), 1e-3, f"{name}: rows of weight 0 have an influence")
    twice, weights = torch.tensor([0, 3, 8]), torch.ones(40)
    weights[twice] = 2.0
    doubled, heavy = scores(torch.cat([x, x[twice]]), torch.cat([y, y[twice]])), scores(x, y, weights)
    require(draws or _near(doubled, heavy, 1e-3), f"{name}: a row given twice is not a row of weight 2")
    require(not weighted or (heavy - plain).abs().max() > 1e-3, f"{name} does not look at the weights of rows")
    x, y = problem(60, 24, seed=4, positives=0.5, spread=0.02)
    own = classifier.fit(batch([x], [y]), None).scores(x)[0]
    require(own[y > 0].min() > own[y < 0].max(), f"{name} does not separate rows that are easy to separate")


def _refused(work: Callable[[], object], fault: str) -> None:
    try:
        work()
    except (ValueError, ConfigError):
        return
    raise AssertionError(fault)


def check_representation(representation: Representation) -> None:
    """Hold a representation, with its local strategy and fusion, to its contract.

    Rows of an answer name regions that there are, relevant ones one at least; unsure gives none. Hyperplanes score
    images as their decision values on the vectors do, whatever the block.

    Raises:
        AssertionError: naming the strategy and the rule.
    """
    name = f"{type(representation.local).__name__} with {type(representation.fusion).__name__}"
    halves = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    for answer in Answer:
        for box in (None, torch.tensor([0.1, 0.1, 0.4, 0.9])) if answer is Answer.RELEVANT else (None,):
            rng = generators(1)[0]
            choice = representation.rows(Feedback(0, answer, box, 0.0), halves, None, rng)
            inside = (choice.region >= -2) & (choice.region < 2)
            require(inside.all() and len(choice.region) == len(choice.label), f"{name}: {answer} names other regions")
            positive = (choice.label > 0).any()
            fault = f"{name}: the labels of a {answer} image's rows do not fit"
            require(bool(positive) == (answer is Answer.RELEVANT), fault)
            require(len(choice.region) > 0 or answer is not Answer.IRRELEVANT, fault)
    rng = torch.Generator().manual_seed(0)
    vectors = F.normalize(torch.randn(9, 4, generator=rng, dtype=torch.float64), dim=1)
    local = vectors[3:] if representation.local.uses_regions else None
    offsets = torch.tensor([0, 2, 2 + 1, 6]) if representation.local.uses_regions else None
    block = ArrayBlock(torch.arange(3), vectors[:3], local, offsets)
    first = ArrayBlock(torch.arange(1), vectors[:1], None if local is None else local[:2], _first(offsets))
    size = representation.vectors(block, torch.tensor([0]), torch.tensor([0])).shape[1]
    weights = torch.randn(2, size, generator=rng, dtype=torch.float64)
    scorer = LinearScorer(weights, torch.tensor([0.5, -1.0], dtype=torch.float64))
    streamed, plain = scorer.of_block(block, representation), representation.of_vectors(block, scorer.scores)
    require(torch.allclose(streamed, plain), f"{name}: hyperplanes score images otherwise than vectors do")
    alone = scorer.of_block(first, representation)
    require(torch.allclose(alone, streamed[:, :1]), f"{name}: an image's score depends on its block")


def _first(offsets: Tensor | None) -> Tensor | None:
    return None if offsets is None else offsets[:2]


def check_backbone(backbone: Backbone) -> None:
    """Hold a backbone to its contract: tokens of its dimension, finite, the same again, in any batch, without training.

    Raises:
        AssertionError: naming the backbone and the rule.
    """
    require(isinstance(backbone, Backbone), f"{type(backbone).__name__} lacks a method or an attribute of a backbone")
    name = backbone.name
    pixels = torch.randn(3, 3, *backbone.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens, again, alone = backbone(pixels), backbone(pixels), backbone(pixels[1:2])
    d = backbone.dim
    require(
        tokens.patches.shape[0] == 3 and tokens.patches.shape[-1] == d, f"{name}: patch tokens are not (3, h, w, {d})"
    )
    require(tokens.cls is None or tokens.cls.shape == (3, d), f"{name}: class tokens are not (3, {d})")
    require(tokens.registers.shape[::2] == (3, d), f"{name}: registers are not (3, r, {d})")
    require(tokens.patches.isfinite().all(), f"{name}: tokens are not finite")
    require(tokens.patches.equal(again.patches), f"{name}: the same images give other tokens the second time")
    near = torch.allclose(tokens.patches[1:2], alone.patches, atol=1e-4 * float(tokens.patches.abs().max()))
    require(near, f"{name}: tokens of an image depend on the images beside it")
    frozen = isinstance(backbone, nn.Module) and not any(one.requires_grad for one in backbone.parameters())
    require(frozen, f"{name} is no nn.Module with frozen parameters")


def check_collection(collection: Collection, shown: int = 3) -> None:
    """Hold a collection to its contract: every object in an image, with a class and a box with an area in it.

    Args:
        collection: any.
        shown: how many of its images are decoded.

    Raises:
        AssertionError: naming the collection and the rule.
    """
    require(
        isinstance(collection, Collection), f"{type(collection).__name__} lacks a method or attribute of a collection"
    )
    name, images, known = collection.name, len(collection.paths), collection.annotations
    require(images > 0 and len(set(collection.paths)) == images, f"{name}: paths are missing, or one is there twice")
    require(
        ((known.image >= 0) & (known.image < images)).all(), f"{name}: an object lies in an image that there is not"
    )
    require(((known.label >= 0) & (known.label < len(known.classes))).all(), f"{name}: an object has no class")
    inside = ((known.box >= 0) & (known.box <= 1)).all() and not degenerate(known.box).any()
    require(inside, f"{name}: a box leaves its image, or has no area")
    require(collection.fingerprint() == collection.fingerprint(), f"{name}: its fingerprint changes")
    for image in range(min(shown, images)):
        decoded = collection.read(image)
        require(isinstance(decoded, Image.Image) and decoded.mode == "RGB", f"{name}: image {image} is not read as RGB")
    if isinstance(collection, KnowsContents):
        contents = collection.contents()
        require(len(contents) == images, f"{name}: {len(contents)} content hashes for {images} images")
        require(contents == collection.contents(), f"{name}: its content hashes change")

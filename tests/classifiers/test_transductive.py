"""What every classifier must do that is given the collection, and what each of them computes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from torch.nn import functional as F

from seekloop.classifiers.diffusion import Diffusion, FieldScorer, seeds
from seekloop.classifiers.logistic_anchored import LogisticSmoothed
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.classifiers.svm_propagated import SvmPropagated, surest, with_pseudo_rows
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Classifier, Scorer, Transductive
from seekloop.contracts.records import ArrayBlock, TrainingRows
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import GlobalOnly
from seekloop.representations.representation import Representation

FOLDER = Path(__file__).parents[2] / "conf" / "classifier"
ENTRIES = ["diffusion", "logistic_smoothed", "svm_propagated"]
GRAPH = {"neighbours": 5, "kind": "sum", "power": 3, "clamp": True, "alpha": 0.9, "iterations": 50, "tolerance": 1e-10}
SVM = {"cost": 1.0, "class_weight": "none", "tol": 1e-10, "max_iter": 100_000, "threads": 1}


@pytest.fixture(params=ENTRIES)
def classifier(request):
    config = OmegaConf.load(FOLDER / f"{request.param}.yaml")
    return instantiate(OmegaConf.merge(config, {key: value for key, value in GRAPH.items() if key in config}))


def collection(images=40, seed=0):
    """Two directions, the first half of the images around each; the last image is unreadable."""
    rng = torch.Generator().manual_seed(seed)
    side = torch.where(torch.arange(images) < images // 2, 1.0, -1.0).double()
    whole = torch.eye(6, dtype=torch.float64)[(side < 0).long()]
    whole = F.normalize(whole + 0.25 * torch.randn(images, 6, generator=rng, dtype=torch.float64), dim=1)
    whole[-1] = 0
    return whole, side


def rows_of(whole, images, labels, weights=None):
    """Rows of several queries, from lists of images and labels."""
    pad = torch.nn.utils.rnn.pad_sequence
    image = pad([torch.tensor(mine) for mine in images], batch_first=True)
    label = pad([torch.tensor(mine, dtype=whole.dtype) for mine in labels], batch_first=True)
    mask = label != 0
    weight = mask.to(whole) if weights is None else torch.as_tensor(weights, dtype=whole.dtype)
    return TrainingRows(whole, image, label, weight, mask, whole[image[:, 0]], image, lambda: whole)


def scores(classifier, whole, rows):
    return classifier.fit(replace(rows, read_global=lambda: whole), None).scores(whole, torch.arange(len(whole)))


IMAGES, LABELS = [[0, 25, 30], [22, 1, 2, 3], [5, 6, 33]], [[1, -1, -1], [1, -1, -1, -1], [1, 1, -1]]


@pytest.fixture
def place():
    return collection()


def test_there_are_those_three():
    targets = {path.stem: get_object(OmegaConf.load(path)._target_) for path in sorted(FOLDER.glob("*.yaml"))}
    assert [name for name, target in targets.items() if hasattr(target, "transductive")] == ENTRIES


def test_rows_give_it_the_collection(classifier, place):
    whole, _ = place
    assert isinstance(classifier, Transductive)
    assert isinstance(classifier, Classifier)
    assert isinstance(classifier.fit(rows_of(whole, IMAGES, LABELS), None), Scorer)
    with pytest.raises(ValueError, match="not global descriptors of a collection"):
        classifier.fit(replace(rows_of(whole, IMAGES, LABELS), read_global=None), None)


def test_two_clusters_are_told_apart_whatever_the_unreadable_image(classifier, place):
    whole, side = place
    found = scores(classifier, whole, rows_of(whole, IMAGES, LABELS))
    assert found.shape == (3, 40)
    assert found.dtype == whole.dtype
    assert found.isfinite().all()
    wanted = side[:-1] * torch.tensor([[1.0], [-1.0], [1.0]])
    astray = 3 if isinstance(classifier, LogisticSmoothed) else 0  # a plane held near one picture, of 39
    assert ((found[:, :-1].sign() != wanted).sum(dim=1) <= astray).all()


def test_queries_are_fitted_alone_or_together(classifier, place):
    whole, _ = place
    together = scores(classifier, whole, rows_of(whole, IMAGES, LABELS))
    for query in range(3):
        alone = scores(classifier, whole, rows_of(whole, IMAGES[query : query + 1], LABELS[query : query + 1]))
        torch.testing.assert_close(alone[0], together[query], rtol=0, atol=1e-12)


def test_select_and_join_undo_each_other(classifier, place):
    whole, _ = place
    parts = [classifier.fit(rows_of(whole, [IMAGES[q]], [LABELS[q]]), None) for q in (2, 0, 1)]
    joined = parts[0].join(parts[1:]).select(torch.tensor([1, 2, 0]))
    wanted = classifier.fit(rows_of(whole, IMAGES, LABELS), None)
    for name in ("values", "weights"):
        if hasattr(wanted, name):
            torch.testing.assert_close(getattr(joined, name), getattr(wanted, name), rtol=0, atol=1e-12)


def test_order_padding_and_rows_without_weight_do_not_matter(classifier, place):
    whole, _ = place
    plain = scores(classifier, whole, rows_of(whole, [[0, 25, 30]], [[1, -1, -1]]))
    shuffled = scores(classifier, whole, rows_of(whole, [[0, 30, 25]], [[1, -1, -1]]))
    padded = scores(
        classifier, whole, rows_of(whole, [[0, 25, 30], list(range(20, 30))], [[1, -1, -1], [1] + [-1] * 9])
    )
    for other in (shuffled, padded[:1]):
        torch.testing.assert_close(other, plain, rtol=0, atol=1e-3)  # svm_numba's tol


def test_rows_that_name_no_image_are_refused(classifier, place):
    whole, _ = place
    with pytest.raises(ValueError, match="do not say which images"):
        classifier.fit(replace(rows_of(whole, IMAGES, LABELS), image=None), None)


@pytest.mark.parametrize(("label", "what"), [(1.0, "no negative"), (-1.0, "no positive")])
def test_one_class_only_is_refused(classifier, place, label, what):
    whole, _ = place
    with pytest.raises(ValueError, match=f"position 1 .*{what}"):
        classifier.fit(rows_of(whole, IMAGES, [LABELS[0], [label] * 4, LABELS[2]]), None)


def test_diffusion_by_hand():
    """Degrees 0, 20, 60, one neighbour each: a path whose weights have squares s and t = 1 - s (graphs/test_affinity).

    The ends are relevant and irrelevant. With alpha 1/2 the inverse times 3/4 has the rows (1 - t/4, sqrt(s)/2,
    sqrt(st)/4) and so on, so the scores times 3/4 are 1 - t/4 - sqrt(st)/4, (sqrt(s) - sqrt(t))/2, and the last.
    """
    angle = torch.deg2rad(torch.tensor([0.0, 20, 60], dtype=torch.float64))
    whole = torch.stack([angle.cos(), angle.sin()], dim=1)
    a, b = (angle[1].cos() ** 3).item(), ((angle[2] - angle[1]).cos() ** 3).item()
    s, t = 2 * a / (2 * a + b), b / (2 * a + b)
    settings = GRAPH | {"neighbours": 1, "alpha": 0.5}
    rows = rows_of(whole, [[0, 2]], [[1, -1]])
    cross = (s * t) ** 0.5 / 4
    wanted = torch.tensor([[1 - t / 4 - cross, (s**0.5 - t**0.5) / 2, cross - 1 + s / 4]]).double() / 0.75
    found = scores(Diffusion(**settings, normalise=False), whole, rows)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    share = scores(Diffusion(**settings, normalise=True), whole, rows)[0, 1]
    assert share.item() == pytest.approx((s**0.5 - t**0.5) / (s**0.5 + t**0.5), abs=1e-6)


def test_answers_of_either_kind_weigh_the_same_together():
    """Two relevant images count half each, against one irrelevant one; a weight of 3 makes it three quarters."""
    whole, _ = collection(6)
    rows = rows_of(whole, [[0, 1, 2]], [[1, 1, -1]])
    assert seeds(rows, 6)[:, :, 0].tolist() == [[0.5, 0.5, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]]
    weighted = rows_of(whole, [[0, 1, 2]], [[1, 1, -1]], weights=[[3.0, 1.0, 5.0]])
    assert seeds(weighted, 6)[:, :, 0].tolist() == [[0.75, 0.25, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]]


def test_what_nothing_reaches_scores_zero():
    whole, _ = collection()
    for normalise in (False, True):
        found = scores(Diffusion(**GRAPH, normalise=normalise), whole, rows_of(whole, [[0, 1]], [[1, -1]]))
        assert found[0, -1] == 0


def test_a_field_has_no_scores_of_descriptors():
    field = FieldScorer(torch.tensor([[1.0, 2.0, 3.0]]))
    block = ArrayBlock(torch.tensor([2, 0]), torch.ones(2, 4), None, None)
    assert field.of_block(block, Representation(GlobalOnly(), NoFusion())).tolist() == [[3, 1]]
    assert field.scores(torch.ones(3, 4), torch.tensor([1, 1, 2])).tolist() == [[2, 2, 3]]
    with pytest.raises(ValueError, match="say which image each row is from"):
        field.scores(torch.ones(1, 4))


def test_the_surest_by_hand():
    """Two of either label, highest weight first, equals by position; what has no weight is not taken at all."""
    labels = torch.tensor([1, 0, 1, 0, 1, 0, -1, 1])
    weights = torch.tensor([0.2, 0.0, 0.9, 0.5, 0.9, 0.0, 0.0, 1.0])
    assert surest(labels, weights, 2).tolist() == [3, 7, 2]


def test_pseudo_rows_stand_behind_the_answered_ones_of_their_query():
    whole = torch.arange(8.0).double()[:, None]
    rows = rows_of(whole[:3], [[0, 1], [2, 1, 0]], [[1, -1], [1, -1, -1]])
    labels = torch.tensor([[0] * 8, [1] * 8])
    weights = torch.stack([torch.arange(8.0), torch.arange(8.0) / 10]).double()
    found = with_pseudo_rows(rows, whole, [torch.tensor([6, 4]), torch.tensor([4])], labels, weights)
    assert [found.of(q)[:, 0].tolist() for q in range(2)] == [[0, 1, 6, 4], [2, 1, 0, 4]]
    assert found.labels.tolist() == [[1, -1, -1, -1], [1, -1, -1, 1]]
    torch.testing.assert_close(found.weights, torch.tensor([[1, 1, 6, 4], [1, 1, 1, 0.4]]).double())
    assert found.mask.all()
    assert len(found.table) == 5


def test_without_strength_it_is_the_plain_machine():
    whole, _ = collection()
    rows = rows_of(whole, IMAGES, LABELS)
    plain = SvmNumba(**SVM).fit(rows, None).scores(whole)
    faint = scores(SvmPropagated(**SVM, **GRAPH, pseudo=10, strength=1e-9), whole, rows)
    torch.testing.assert_close(faint, plain, rtol=0, atol=1e-6)
    strong = scores(SvmPropagated(**SVM, **GRAPH, pseudo=10, strength=1.0), whole, rows)
    assert (strong - plain).abs().max() > 0.05


def test_pseudo_labels_help_where_answers_are_few():
    """One answer of each kind, at the edges of their clusters: the propagated machine leans to the clusters' middle."""
    whole, side = collection(200, seed=3)
    far = (whole @ torch.tensor([1.0, 1, 1, 0, 0, 0]).double()).abs().masked_fill(whole.norm(dim=1) == 0, -1)
    first = [int(far.masked_fill(side != sign, -1).argmax()) for sign in (1, -1)]
    rows = rows_of(whole, [first], [[1, -1]])
    direction = torch.tensor([1.0, -1, 0, 0, 0, 0]).double()
    angles = [
        F.cosine_similarity(machine.fit(rows, None).weights, direction[None]).item()
        for machine in (SvmNumba(**SVM), SvmPropagated(**SVM, **GRAPH, pseudo=50, strength=0.5))
    ]
    assert angles[1] > angles[0] + 0.02


@pytest.mark.parametrize(("key", "value"), [("pseudo", 0), ("strength", -1.0), ("cost", 0.0), ("alpha", 1.0)])
def test_settings_that_cannot_work_are_named(key, value):
    with pytest.raises(ConfigError, match=f"SvmPropagated: {key}="):
        SvmPropagated(**(SVM | GRAPH | {"pseudo": 5, "strength": 1.0, key: value}))

"""What every classifier of conf/classifier must do. A new YAML is found and held to it."""

import inspect
import sys
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from seekloop.contracts.protocols import Classifier, Scorer
from seekloop.contracts.records import TrainingRows
from tests.classifiers import cuml_double
from tests.classifiers.rows import batch, pick, problem, problems

ENTRIES = sorted((Path(__file__).parents[2] / "conf" / "classifier").glob("*.yaml"))
# Those that learn from the collection, too, are held to tests/classifiers/test_transductive.py.
INDUCTIVE = [entry for entry in ENTRIES if not hasattr(get_object(OmegaConf.load(entry)._target_), "transductive")]
BATCHED = {"svm_torch"}  # one product over all queries: equal up to rounding, not to the bit
WITHOUT_WEIGHTS = {"nearest"}


@pytest.fixture(params=INDUCTIVE, ids=lambda entry: entry.stem)
def entry(request, monkeypatch):
    for name, module in cuml_double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return request.param


@pytest.fixture
def classifier(entry):
    return instantiate(OmegaConf.load(entry))


@pytest.fixture
def rows():
    return problems([6, 40, 17], dim=24)


@pytest.fixture
def images():
    return torch.nn.functional.normalize(torch.randn(50, 24, generator=torch.Generator().manual_seed(9)), dim=1)


def close(found, wanted, tol=1e-3):
    """Agreement relative to the largest score of a query."""
    scale = wanted.abs().amax(1, keepdim=True)
    torch.testing.assert_close(found / scale, wanted / scale, rtol=0, atol=tol)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.stem)
def test_the_yaml_repeats_the_constructor(entry):
    config = OmegaConf.load(entry)
    arguments = inspect.signature(get_object(config._target_)).parameters
    given = {str(key): value for key, value in config.items() if not str(key).startswith("_")}
    assert {name: argument.default for name, argument in arguments.items()} == given


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.stem)
def test_every_line_of_yaml_says_what_it_is(entry):
    first, *rest = entry.read_text().splitlines()
    assert first.startswith("# ")
    assert all("  # " in line for line in rest if not line.startswith("_target_"))


def test_scores_have_one_line_per_query(classifier, rows, images):
    scorer = classifier.fit(rows, None)
    assert isinstance(classifier, Classifier)
    assert isinstance(scorer, Scorer)
    assert scorer.scores(images).shape == (3, 50)
    assert scorer.scores(images).dtype == torch.float32


def test_rows_that_are_easy_to_separate_are_separated(classifier):
    rows, labels = problem(60, 24, seed=4, positives=0.5, spread=0.02)
    scores = classifier.fit(batch([rows], [labels.tolist()]), None).scores(rows)[0]
    assert scores[labels > 0].min() > scores[labels < 0].max()


def test_queries_are_fitted_alone_or_together(entry, classifier, rows, images):
    together = classifier.fit(rows, None).scores(images)
    alone = torch.cat([classifier.fit(pick(rows, [q]), None).scores(images) for q in range(3)])
    if entry.stem in BATCHED:
        close(alone, together, 1e-5)
    else:
        single = torch.cat([classifier.fit(rows, None).select(torch.tensor([q])).scores(images) for q in range(3)])
        assert alone.equal(single)
        close(single, together, 1e-6)  # the product of one hyperplane and of three may round differently


def test_select_and_join_undo_each_other(classifier, rows, images):
    scorer = classifier.fit(rows, None)
    parts = [classifier.fit(pick(rows, [q]), None) for q in (2, 0, 1)]  # of different width
    joined = parts[0].join(parts[1:])
    close(joined.scores(images), scorer.scores(images)[[2, 0, 1]], 1e-5)
    close(joined.select(torch.tensor([1, 2, 0])).scores(images), scorer.scores(images), 1e-5)


def test_the_order_of_rows_does_not_matter(classifier, images):
    rows, labels = problem(40, 24, seed=1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    plain = batch([rows], [labels.tolist()])
    shuffled = batch([rows[order]], [labels[order].tolist()], query=plain.query)
    close(classifier.fit(shuffled, None).scores(images), classifier.fit(plain, None).scores(images))


def test_padding_has_no_influence(classifier, rows, images):
    rubbish = torch.where(rows.mask[:, :, None], rows.rows, 7.0)
    padded = TrainingRows.padded(
        torch.nn.functional.pad(rubbish, (0, 0, 0, 5), value=3.0),
        torch.nn.functional.pad(rows.labels, (0, 5)),
        torch.nn.functional.pad(torch.where(rows.mask, rows.weights, 9.0), (0, 5), value=2.0),
        torch.nn.functional.pad(rows.mask, (0, 5)),
        rows.query,
    )
    close(classifier.fit(padded, None).scores(images), classifier.fit(rows, None).scores(images), 1e-5)


@pytest.mark.parametrize("class_weight", ["none", "balanced", 3.0])
def test_a_row_given_twice_is_a_row_of_weight_two(entry, images, class_weight):
    config = OmegaConf.load(entry)
    if "class_weight" in config:
        config.class_weight = class_weight
    elif class_weight != "none":
        pytest.skip("has no class weights")
    rows, labels = problem(30, 24, seed=2)
    twice = torch.tensor([0, 3, 8])
    doubled = batch([torch.cat([rows, rows[twice]])], [[*labels.tolist(), *labels[twice].tolist()]])
    weights = torch.ones(30)
    weights[twice] = 2.0
    weighted = batch([rows], [labels.tolist()], weights=[weights])
    classifier = instantiate(config)
    close(classifier.fit(doubled, None).scores(images), classifier.fit(weighted, None).scores(images))
    if entry.stem not in WITHOUT_WEIGHTS:
        plain = classifier.fit(batch([rows], [labels.tolist()]), None).scores(images)
        assert (classifier.fit(weighted, None).scores(images) - plain).abs().max() > 1e-3


def test_a_row_of_weight_zero_has_no_influence(classifier, images):
    rows, labels = problem(20, 24, seed=3)
    weights = torch.ones(20)
    weights[12:] = 0.0
    silent = classifier.fit(batch([rows], [labels.tolist()], weights=[weights]), None).scores(images)
    close(silent, classifier.fit(batch([rows[:12]], [labels[:12].tolist()]), None).scores(images))


def test_rows_and_labels_are_left_as_they_were(classifier, rows):
    before = (rows.rows.clone(), rows.labels.clone(), rows.weights.clone())
    first = classifier.fit(rows, None)
    classifier.fit(rows, first)
    assert all(a.equal(b) for a, b in zip(before, (rows.rows, rows.labels, rows.weights), strict=True))


@pytest.mark.parametrize(("label", "what"), [(1.0, "no negative"), (-1.0, "no positive")])
def test_one_class_only_is_refused_with_the_query_named(classifier, rows, label, what):
    labels = rows.labels.clone()
    labels[1, rows.mask[1]] = label
    with pytest.raises(ValueError, match=f"position 1 .*{what}"):
        classifier.fit(TrainingRows.padded(rows.rows, labels, rows.weights, rows.mask, rows.query), None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_with_the_query_named(classifier, rows, value):
    rows.table[rows.index[2, 3], 5] = value
    with pytest.raises(ValueError, match=r"position 2 .*NaN"):
        classifier.fit(rows, None)

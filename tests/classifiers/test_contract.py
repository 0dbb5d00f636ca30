"""What every classifier of conf/classifier must do. A new YAML is found and held to it."""

import inspect
import sys
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from seekloop.contracts.records import TrainingRows
from seekloop.testing import check_classifier
from tests.classifiers import cuml_double
from tests.classifiers.rows import batch, problem, problems

ENTRIES = sorted((Path(__file__).parents[2] / "conf" / "classifier").glob("*.yaml"))
# Those that learn from the collection, too, are held to tests/classifiers/test_transductive.py.
INDUCTIVE = [entry for entry in ENTRIES if not hasattr(get_object(OmegaConf.load(entry)._target_), "transductive")]
BATCHED = {"svm_torch"}  # one product over all queries: equal up to rounding, not to the bit
WITHOUT_WEIGHTS = {"nearest", "nearest_filter"}
DRAWS = {"random_forest"}  # among the rows, by their position


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


def test_keeps_the_contract_of_classifiers(entry, classifier):
    kind = {"weighted": entry.stem not in WITHOUT_WEIGHTS, "draws": entry.stem in DRAWS}
    check_classifier(classifier, exact=entry.stem not in BATCHED, **kind)


def test_scores_are_in_single_precision(classifier, rows, images):
    assert classifier.fit(rows, None).scores(images).dtype == torch.float32


@pytest.mark.parametrize("class_weight", ["none", "balanced", 3.0])
def test_a_row_given_twice_is_a_row_of_weight_two(entry, images, class_weight):
    if entry.stem in DRAWS:
        pytest.skip("a row given twice is drawn twice")
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

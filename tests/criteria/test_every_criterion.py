"""What holds for every criterion. A new one is found by its YAML; there is nothing to register."""

import dataclasses
import inspect
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from seekloop.contracts.protocols import Criterion
from seekloop.contracts.records import CandidateView
from tests.criteria.views import crowd, rngs, view

FILES = sorted((Path(__file__).parents[2] / "conf" / "criterion").glob("*.yaml"))
DRAWS = ("random", "badge")  # the first image at least


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def entry(request):
    return request.param


@pytest.fixture
def criterion(entry):
    return instantiate(OmegaConf.load(entry))


def test_there_are_criteria():
    assert len(FILES) >= 8


def test_the_yaml_repeats_the_constructor(entry):
    config = OmegaConf.load(entry)
    arguments = inspect.signature(get_object(config._target_)).parameters
    given = {str(key): value for key, value in config.items() if not str(key).startswith("_")}
    assert {name: argument.default for name, argument in arguments.items()} == given


def test_every_line_of_the_yaml_explains_itself(entry):
    lines = entry.read_text().splitlines()
    assert lines[0].startswith("# ")
    assert all("  # " in line for line in lines[1:] if not line.startswith("_target_"))


def test_is_a_criterion(criterion):
    assert isinstance(criterion, Criterion)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("budget", [1, 4, 10])
def test_chooses_distinct_candidates_and_repeats_itself(criterion, budget, dtype):
    shown = crowd(3, 60, seed=budget, dtype=dtype)
    first, again = (criterion(shown, budget, rngs(3)) for _ in range(2))
    assert first.shape == (3, budget)
    assert shown.candidate.gather(1, first).all()
    assert all(row.unique().numel() == budget for row in first)
    assert torch.equal(first, again)


def test_queries_do_not_depend_on_their_company(criterion):
    shown = crowd(3, 60, seed=1)
    together = criterion(shown, 5, rngs(3))
    for query in range(3):
        alone = slice(query, query + 1)
        names = ("scores", "candidate", "answers", "probabilities")
        single = dataclasses.replace(shown, **{name: getattr(shown, name)[alone] for name in names})
        assert torch.equal(criterion(single, 5, rngs(3)[alone]), together[alone])


def test_takes_everything_that_is_left(criterion):
    shown = crowd(2, 40, seed=2)
    left = int(shown.candidate.sum(dim=1).min())
    chosen = criterion(shown, left, rngs(2))
    assert chosen[0].sort().values.equal(shown.candidate[0].nonzero()[:, 0])
    assert chosen[1].unique().numel() == left


def test_copes_with_a_collection_of_one_image_many_times(criterion):
    """Equal scores, equal descriptors: nothing to go by."""
    shown = view(torch.zeros(1, 20), answers=[[1] + [0] * 19], whole=torch.eye(2, dtype=torch.float64)[[0] * 20])
    assert criterion(shown, 6, rngs(1)).unique().numel() == 6


@pytest.mark.parametrize("path", [path for path in FILES if path.stem not in DRAWS], ids=lambda path: path.stem)
def test_ties_go_to_the_lower_position(path):
    """Not for draws, which have no ties."""
    criterion = instantiate(OmegaConf.load(path))
    shown = view(torch.zeros(1, 9), answers=[[0, 0, 0, -1, 0, 0, 0, 0, 0]], whole=torch.ones(9, 1).double())
    assert criterion(shown, 4, rngs(1)).tolist() == [[0, 1, 2, 4]]


def test_too_few_candidates_are_refused_with_the_numbers(criterion):
    candidate = [[True, True, True, False], [False, True, False, True]]
    shown = view(torch.zeros(2, 4), candidate=candidate, answers=[[0, 0, 0, 1], [1, 0, 0, 0]])
    with pytest.raises(ValueError, match="cannot choose 3 images for query 1: only 2 candidates are left"):
        criterion(shown, 3, rngs(2))


def test_what_it_sees_holds_no_truth():
    fields = {field.name for field in dataclasses.fields(CandidateView)}
    assert fields == {"scores", "candidate", "answers", "read_descriptors", "round", "probabilities", "cache"}

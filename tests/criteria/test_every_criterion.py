"""What holds for every criterion. A new one is found by its YAML; there is nothing to register."""

import dataclasses
import inspect
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from seekloop.contracts.records import CandidateView
from seekloop.testing import check_criterion
from tests.criteria.views import rngs, view

FILES = sorted((Path(__file__).parents[2] / "conf" / "criterion").glob("*.yaml"))
DRAWS = ("random", "badge", "drop_query", "sides")  # the first image at least


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


def test_keeps_the_contract_of_criteria(entry, criterion):
    check_criterion(criterion, draws=entry.stem in DRAWS)


def test_too_few_candidates_are_refused_with_the_numbers(criterion):
    candidate = [[True, True, True, False], [False, True, False, True]]
    shown = view(torch.zeros(2, 4), candidate=candidate, answers=[[0, 0, 0, 1], [1, 0, 0, 0]])
    with pytest.raises(ValueError, match="cannot choose 3 images for query 1: only 2 candidates are left"):
        criterion(shown, 3, rngs(2))


def test_what_it_sees_holds_no_truth():
    fields = {field.name for field in dataclasses.fields(CandidateView)}
    reads = {"read_descriptors", "read_vectors", "rescore"}  # descriptors, and the classifier's scores of vectors
    assert fields == {"scores", "candidate", "answers", "round", "probabilities", "cache"} | reads

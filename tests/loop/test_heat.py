"""Scores of one image's tokens, by hand."""

from dataclasses import dataclass

import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Example, Query, Regions, Tokens
from seekloop.contracts.scorers import LinearScorer
from seekloop.descriptors.whitening import Whitened, Whitening
from seekloop.loop.heat import token_scores
from seekloop.representations.fusion import Concat, NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from seekloop.store.arrays import ArrayDescriptors
from seekloop.store.joined import Joined
from tests.loop.parts import GO, loop

TOKENS = torch.tensor([[[[2.0, 0.0], [0.0, 5.0]], [[3.0, 4.0], [-1.0, 0.0]]]])  # 2 x 2 of 2 dimensions
QUERY = Query("star", 0, (Example(0),), (1,))


@dataclass(frozen=True)
class Known:
    """Learns nothing: the same hyperplane whatever the rows."""

    weights: tuple[float, ...]
    intercept: float

    def fit(self, rows, previous):
        return LinearScorer(torch.tensor([self.weights]).to(rows.table), torch.tensor([self.intercept]).to(rows.table))


@dataclass(frozen=True)
class WholeImages(Known):
    transductive = True


def three_images():
    """Global descriptors (1, 0), (0, 1) and (0, 1); one region each."""
    global_ = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    return ArrayDescriptors(global_, global_.clone(), Regions(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), None))


def heat(descriptors, representation, classifier, image=2, tokens=TOKENS, **engine):
    one = loop(descriptors, representation, classifier=classifier, **engine)
    state = one.update(one.start((QUERY,), [0.0]))
    return token_scores(one, state, Tokens(None, tokens.new_empty(1, 0, tokens.shape[-1]), tokens), image)


def test_a_token_is_joined_with_its_images_global_descriptor_as_regions_are():
    """Of unit length the tokens are (1, 0), (0, 1), (0.6, 0.8), (-1, 0), and g = (0, 1).

    With w = [(0, 3), (2, -1)] and b = -4: 3 + 2 - 4 = 1; 3 - 1 - 4 = -2; 3 + 1.2 - 0.8 - 4 = -0.6; 3 - 2 - 4 = -3.
    Tokens of their own length would give 3 first, [l, g] in place of [g, l] -5, another image's g -2.
    """
    found = heat(three_images(), Representation(All(), Concat()), Known((0.0, 3.0, 2.0, -1.0), -4.0))
    torch.testing.assert_close(found, torch.tensor([[1.0, -2.0], [-0.6, -3.0]]))


@pytest.mark.parametrize("representation", [GO, Representation(All(), NoFusion())])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_without_fusion_a_token_stands_alone(representation, precision):
    """w = (2, -1), b = 0.5: 2.5; -0.5; 1.2 - 0.8 + 0.5 = 0.9; -1.5."""
    found = heat(three_images(), representation, Known((2.0, -1.0), 0.5), precision=precision)
    torch.testing.assert_close(found.float(), torch.tensor([[2.5, -0.5], [0.9, -1.5]]))


def test_tokens_are_whitened_as_the_descriptors_are():
    """The mean (0, 1/2) off (1, 0) leaves (1, -1/2), of length sqrt(5)/2: w = (2, -1) gives sqrt(5).

    (0, 1) becomes (0, 1) and gives -1. Taken off the token (2, 0), the mean would leave (4 + 1/2) / sqrt(4.25).
    """
    whitening = Whitening(torch.tensor([0.0, 0.5], dtype=torch.float64), None)
    for descriptors in (
        Whitened(three_images(), whitening),
        Joined(Whitened(three_images(), whitening), Whitened(three_images(), whitening)),
        Whitened(Joined(three_images(), three_images()), whitening),
    ):
        found = heat(descriptors, GO, Known((2.0, -1.0), 0.0))
        torch.testing.assert_close(found[0], torch.tensor([5**0.5, -1.0]))


def test_other_tokens_and_classifiers_of_whole_images_are_refused():
    with pytest.raises(ValueError, match="3 dimensions do not fit descriptors of 2"):
        heat(three_images(), GO, Known((2.0, -1.0), 0.0), tokens=torch.ones(1, 2, 2, 3))
    with pytest.raises(ConfigError, match="no parts of them"):
        heat(three_images(), GO, WholeImages((2.0, -1.0), 0.0))

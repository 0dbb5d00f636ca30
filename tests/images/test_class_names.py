import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Annotations
from seekloop.images.class_names import class_names


class Pictures:
    """Four images. Cats: small and large on image 0, medium on 2. Dogs: large on 1. No emus."""

    name, paths, problems = "pets", ("a", "b", "c", "d"), ()

    def read(self, image):
        raise NotImplementedError

    label = torch.tensor([0, 0, 1, 0])
    side = torch.tensor([0.1, 0.9, 0.5, 0.3])
    nothing = torch.zeros(4, dtype=torch.bool)
    box = torch.stack([torch.zeros(4), torch.zeros(4), side, side], dim=1)
    annotations = Annotations(("cat", "dog", "emu"), torch.tensor([0, 0, 1, 2]), label, box, nothing, nothing)

    def fingerprint(self):
        return "pets"


def test_classes_are_searched_for_by_their_words_and_sizes_are_apart_by_hand():
    search = class_names(Pictures(), {"dog": "puppy"})
    assert (search.names, search.texts) == (("cat", "dog"), ("cat", "puppy"))
    assert search.relevant("all").int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 0]]
    assert search.relevant("medium").int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    assert search.ignored("medium").int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert search.relevant("large").int().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert search.relevant("small").int().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]
    assert [problem.where for problem in search.queries.problems] == ["emu"]
    assert [len(boxes) for boxes in search.boxes] == [2, 1]


def test_what_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"pets has no class 'fox'. Classes: cat, dog, emu"):
        class_names(Pictures(), {"fox": "vixen"})
    empty = Pictures()
    empty.annotations = Pictures.annotations.keep(Pictures.nothing)
    with pytest.raises(ConfigError, match="no class is on any image"):
        class_names(empty)

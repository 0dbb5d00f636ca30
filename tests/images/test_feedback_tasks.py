import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Annotations
from seekloop.images.feedback_tasks import feedback_tasks


class Pictures:
    """Images by the classes that they show; boxes are the whole image where no side is given."""

    problems = ()

    def __init__(self, *shown, name="pictures", side=1.0):
        self.name, self.paths = name, [f"{name}/{number}" for number in range(len(shown))]
        rows = [(image, word) for image, words in enumerate(shown) for word in words]
        classes = tuple(sorted({word for _, word in rows}))
        nothing = torch.zeros(len(rows), dtype=torch.bool)
        sides = torch.tensor([0.1 if image == 0 else side for image, _ in rows])
        self.annotations = Annotations(
            classes,
            torch.tensor([image for image, _ in rows]),
            torch.tensor([classes.index(word) for _, word in rows]),
            torch.stack([torch.zeros(len(rows)), torch.zeros(len(rows)), sides, sides], dim=1),
            nothing,
            nothing,
        )

    def read(self, image):
        raise NotImplementedError

    def fingerprint(self):
        return self.name


def asked(search):
    """Query image, words, and the images that are right, of every query."""
    right = [row.nonzero()[:, 0].tolist() for row in search.relevant("all")]
    return sorted(zip(search.queries.positions, search.names, right, strict=True))


def test_the_same_kind_of_object_by_hand():
    """A donut and a banana are asked with, once for each; a banana alone is not wanted where the donut is."""
    search = feedback_tasks(Pictures({"donut", "banana"}, {"donut"}, {"banana"}, {"car"}))
    assert asked(search) == [
        (0, "banana", [2]),
        (0, "donut", [1]),
        (1, "donut", [0]),
        (2, "banana", [0]),
    ]
    assert [problem.where for problem in search.queries.problems] == ["car"]
    assert search.ignored("all").int().argmax(dim=1).tolist() == list(search.queries.positions)
    assert search.shows_wanted


CLOTHES = ({"shiny shoe"}, {"dim shoe"}, {"shiny shoe"}, {"shiny boot"}, {"dim shoe", "shiny shoe"}, {"shoe"})


def test_a_shared_property_by_hand():
    """Shiny: shoes and boots, or with `same_object` shoes only. Nothing else shares the boot's kind and property."""
    options = {"task": "property", "properties": "name", "queries": 10}
    found = asked(feedback_tasks(Pictures(*CLOTHES), **options))
    assert (0, "shiny", [2, 3, 4]) in found
    assert (3, "shiny", [0, 2, 4]) in found
    found = asked(feedback_tasks(Pictures(*CLOTHES), same_object=True, **options))
    assert (0, "shiny shoe", [2, 4]) in found
    assert (1, "dim shoe", [4]) in found
    assert not [one for one in found if one[0] == 3]


def test_a_changed_property_by_hand():
    """Dim shoes are wanted by who asks with a shiny one, but not the image that shows both; nobody asks with that."""
    search = feedback_tasks(Pictures(*CLOTHES), task="changed", properties="name")
    assert asked(search) == [(0, "dim shoe", [1]), (1, "shiny shoe", [0, 2]), (2, "dim shoe", [1])]
    assert not search.shows_wanted


def test_sizes_are_properties_by_hand():
    """The car of image 0 covers a hundredth of it, those of the others all."""
    cars = Pictures({"car"}, {"car"}, {"car"}, {"cat"})
    found = asked(feedback_tasks(cars, task="changed", properties="size"))
    assert found == [(0, "large car", [1, 2]), (1, "small car", [0]), (2, "small car", [0])]


def test_queries_may_be_from_another_collection():
    """Its images are no part of the ranking, and its cats, which the ranked collection lacks, are not asked with."""
    others = Pictures({"dog"}, {"cat"}, {"dog", "car"}, name="others")
    search = feedback_tasks(Pictures({"dog"}, {"car"}, {"dog"}), asked=others)
    assert asked(search) == [(0, "dog", [0, 2]), (2, "car", [1]), (2, "dog", [0, 2])]
    assert not search.ignored("all").any()
    assert search.queries.paths[0].startswith("others/")
    assert search.database.name == "pictures"


def test_each_preference_is_drawn_by_itself():
    """Another class in the collection, and more queries of each, leave the first ones as they are."""
    few = asked(feedback_tasks(Pictures(*[{"dog"}] * 9), queries=2))
    more = asked(feedback_tasks(Pictures(*[{"dog"}] * 9, {"cat"}, {"cat"}), queries=3))
    assert {image for image, words, _ in few} < {image for image, words, _ in more if words == "dog"}
    assert few != asked(feedback_tasks(Pictures(*[{"dog"}] * 9), queries=2, seed=1))


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ConfigError, match=r"properties='none' cannot work: the task changed is about properties"):
        feedback_tasks(Pictures({"dog"}), task="changed")
    with pytest.raises(ConfigError, match=r"no image of pictures can be asked with: .* names of two words"):
        feedback_tasks(Pictures({"dog"}, {"dog"}), task="property", properties="name")
    with pytest.raises(ConfigError, match="no other image shows what the task category wants"):
        feedback_tasks(Pictures({"dog"}, {"cat"}))

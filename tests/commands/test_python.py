"""One part, or the loop, by the words of the command line."""

import pytest

import seekloop
from seekloop.contracts.errors import ConfigError
from tests.worlds import blobs


def test_one_part_is_built_by_its_name_with_its_defaults():
    part = seekloop.build("criterion=typiclust")
    assert (type(part).__name__, part.shortlist, part.neighbours) == ("Typiclust", 20, 20)
    assert seekloop.build("criterion=typiclust", "criterion.neighbours=5").neighbours == 5
    assert type(seekloop.build("representation/local=one_rand")).__name__ == "OneRand"
    assert seekloop.build("representation=gl_pool_all").fusion.uses_whole
    assert seekloop.build("propagation=released").kind == "sum"  # of a command other than retrieve


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Begin with group=entry. Groups: collection, registers, backbone"),
        (("critrion=top",), "it is no group of parts"),
        (("criterion=typiclust", "criterion.neighbours=0"), "criterion.neighbours=0 cannot work: "),
        (
            ("criterion=top", "+criterion.below=1"),
            "criteria.top.Top takes no such argument. It takes: nothing",
        ),
        (("user=simulated",), "user.annotations='(missing)' cannot work"),
    ],
)
def test_what_cannot_be_built_is_told(words, told):
    with pytest.raises(ConfigError) as raised:
        seekloop.build(*words)
    assert told in str(raised.value)


def test_the_loop_and_a_search_of_ones_own_are_built_from_the_same_words():
    world = blobs(40, classes=("star",))
    star = int(world.relevant[0].nonzero()[0, 0])
    loop = seekloop.build_loop(world.descriptors, "representation=gl_concat_all", "criterion=top")
    search = seekloop.session(world.descriptors, star, None, ["representation=gl_concat_all", "criterion=top"])
    assert loop.representation == search.loop.representation
    assert type(search.loop.criterion).__name__ == "Top"
    with pytest.raises(ConfigError, match="nothing reads it"):
        seekloop.build_loop(world.descriptors, "+lop.budget=3")

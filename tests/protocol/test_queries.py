import pytest
import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Annotations, Text
from seekloop.protocol.queries import FromWords, Words, draw_queries, queries_table


def annotations(images_of):
    """`images_of[name]`: images holding one object of the class, with a box that grows with the image's position."""
    pairs = [(image, label) for label, images in enumerate(images_of.values()) for image in images]
    image = torch.tensor([pair[0] for pair in pairs])
    return Annotations(
        tuple(images_of),
        image,
        torch.tensor([pair[1] for pair in pairs]),
        torch.stack([torch.tensor([0.0, 0.0, 0.01 * (i + 1), 0.5]) for i in image.tolist()]),
        torch.zeros(len(pairs), dtype=torch.bool),
        torch.zeros(len(pairs), dtype=torch.bool),
    )


def draw(world, readable=None, **changes):
    settings = {"queries": 3, "negatives": 2, "classes": None, "seed": 0} | changes
    return draw_queries(world, torch.ones(20, dtype=torch.bool) if readable is None else readable, **settings)


WORLD = annotations({"cat": range(8), "dog": range(5, 12), "one": [3], "all": range(20)})


def test_queries_are_distinct_positives_with_true_negatives():
    queries, _ = draw(WORLD)
    for name, positives in (("cat", range(8)), ("dog", range(5, 12))):
        mine = [query for query in queries if query.class_name == name]
        assert len({query.first.image for query in mine}) == 3
        assert all(query.first.image in positives for query in mine)
        assert not any(set(query.negatives) & set(positives) for query in mine)
        assert all(len(set(query.negatives)) == 2 for query in mine)
        assert all(query.first.box[2].item() == pytest.approx(0.01 * (query.first.image + 1)) for query in mine)


def test_classes_that_cannot_be_searched_are_named():
    """One image of "one": nothing would be left to find. All images show "all": there are no negatives."""
    _, left_out = draw(WORLD)
    assert left_out == {
        "one": "1 positive (2 needed), 19 negatives (2 needed)",
        "all": "20 positives (2 needed), 0 negatives (2 needed)",
    }


def test_there_are_never_more_queries_than_positives():
    queries, _ = draw(WORLD, queries=100, classes=["dog"])
    assert sorted(query.first.image for query in queries) == list(range(5, 12))


def test_a_query_depends_on_seed_class_and_number_only():
    few, _ = draw(WORLD, queries=1, classes=["dog"])
    many, _ = draw(WORLD, queries=4)
    other, _ = draw(WORLD, queries=4, seed=1)
    dogs = [query for query in many if query.class_name == "dog"]
    assert (few[0].first.image, few[0].negatives) == (dogs[0].first.image, dogs[0].negatives)
    assert [query.first.image for query in many] != [query.first.image for query in other]


def test_unreadable_images_are_neither_queries_nor_negatives():
    readable = torch.ones(20, dtype=torch.bool)
    readable[[0, 1, 2, 3, 12, 13, 14]] = False
    queries, _ = draw(WORLD, readable, queries=8, classes=["cat"])
    assert sorted(query.first.image for query in queries) == [4, 5, 6, 7]
    assert all(readable[list(query.negatives)].all() for query in queries)


def test_an_unknown_class_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"classes=\['cow'\].*Choose from \['cat', 'dog', 'one', 'all'\]"):
        draw(WORLD, classes=["cow"])


def test_a_collection_without_boxes_says_what_is_missing():
    with pytest.raises(ConfigError, match="this collection has none"):
        draw(EMPTY)


EMPTY = Annotations(
    (),
    torch.empty(0, dtype=torch.long),
    torch.empty(0, dtype=torch.long),
    torch.empty(0, 4),
    torch.empty(0, dtype=torch.bool),
    torch.empty(0, dtype=torch.bool),
)


@pytest.mark.parametrize("name", ["queries", "negatives"])
def test_a_search_needs_a_query_and_a_negative(name):
    with pytest.raises(ConfigError, match=rf"{name}=0 cannot work"):
        draw(WORLD, **{name: 0})


def test_the_table_holds_every_query():
    queries, _ = draw(WORLD)
    table = queries_table(queries, [f"{i}.jpg" for i in range(20)])
    assert table["path"].tolist() == [f"{query.first.image}.jpg" for query in queries]
    assert table["negatives"].tolist() == [list(query.negatives) for query in queries]


def test_searches_by_words_are_those_with_a_box_and_keep_their_example_to_themselves():
    """Same classes, numbers and negatives; the example is given only where it is asked for, and named in the table."""
    queries, _ = draw(WORLD, classes=["cat", "dog"])
    texts = {name: Text(name.upper(), torch.ones(2)) for name in ("cat", "dog")}
    paths = [f"{i}.jpg" for i in range(20)]
    for box in (False, True):
        words = Words(texts, box)
        begun = words.begin(queries)
        kept = [(one.class_name, one.number, one.negatives) for one in begun]
        assert kept == [(one.class_name, one.number, one.negatives) for one in queries]
        assert [one.examples for one in begun] == [one.examples if box else () for one in queries]
        assert [one.text.words for one in begun] == ["CAT"] * 3 + ["DOG"] * 3
        table = queries_table(queries, paths, words)
        assert table.drop(columns=["words", "shown"]).equals(queries_table(queries, paths))
        assert (table["words"].tolist(), set(table["shown"])) == (["CAT"] * 3 + ["DOG"] * 3, {box})


def test_words_stand_for_names_of_classes_that_are_there():
    queries, _ = draw(WORLD, classes=["cat", "dog"])
    assert FromWords({"cat": "tom"}).texts(queries, "pets", WORLD.classes) == {"cat": "tom", "dog": "dog"}
    with pytest.raises(ConfigError, match=r"words=.* cannot work: pets has no class 'cow'. Classes: cat, dog"):
        FromWords({"cow": "cattle"}).texts(queries, "pets", WORLD.classes)

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seekloop.contracts.errors import ConfigError
from seekloop.matching.expression import Term, joined, parse


def read(query):
    return [(term.weight, term.content, term.image) for term in parse(query, lambda term: term.endswith(".jpg"))]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("a red bus", [(1, "a red bus", False)]),
        ('"a red bus"', [(1, "a red bus", False)]),
        ("t-shirt", [(1, "t-shirt", False)]),
        ("C++ book", [(1, "C++ book", False)]),
        ("two + two", [(1, "two", False), (1, "two", False)]),
        ('"two + two"', [(1, "two + two", False)]),
        (
            '2*"golden retriever" + pool.jpg - "indoors"',
            [(2, "golden retriever", 0), (1, "pool.jpg", 1), (-1, "indoors", 0)],
        ),
        ("dog -2.5*cat", [(1, "dog", False), (-2.5, "cat", False)]),
        ('dog -"a cat"', [(1, "dog", False), (-1, "a cat", False)]),
        ("dog - .5 * a/b c.jpg", [(1, "dog", False), (-0.5, "a/b c.jpg", True)]),
        ('"c.jpg"', [(1, "c.jpg", False)]),
        ("- dog + cat", [(-1, "dog", False), (1, "cat", False)]),
        ("7 dogs", [(1, "7 dogs", False)]),
        ("赤いバス + красный", [(1, "赤いバス", False), (1, "красный", False)]),
        ("x" * 10_000, [(1, "x" * 10_000, False)]),
    ],
)
def test_queries_are_read_as_people_mean_them(query, terms):
    assert read(query) == terms


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("dog + ", "a term is empty"),
        ("dog + + cat", "a term is empty"),
        ('""', "a term is empty"),
        ('"dog', "a quotation mark is not closed"),
        ('dog "cat"', "a quotation mark is not closed, or stands inside a term"),
        ('"dog" cat', "'cat' follows a quoted text"),
        ("\udcff", "no text in UTF-8"),
        ('"' + "x" * 10_000, r"\.\.\.'"),
    ],
)
def test_what_is_no_query_is_refused_in_few_words(query, message):
    with pytest.raises(ConfigError, match=message) as refused:
        read(query)
    assert len(str(refused.value)) < 400


def test_terms_are_joined_by_their_weights_by_hand():
    """2 (1, 0) - (0, 1) has length sqrt 5."""
    vectors = torch.eye(2)
    found = joined((Term(2.0, "dog"), Term(-1.0, "indoors")), vectors)
    torch.testing.assert_close(found, torch.tensor([2.0, -1.0]) / 5**0.5)
    with pytest.raises(ConfigError, match=r"\+1\*dog -1\*dog.*cancel each other out"):
        joined((Term(1.0, "dog"), Term(-1.0, "dog")), vectors[[0, 0]])


@given(st.lists(st.tuples(st.floats(0.1, 9), st.sampled_from("+-"), st.text('ab c-+*"', min_size=1)), min_size=1))
def test_quoted_terms_come_back_as_they_were(terms):
    kept = [(weight, sign, text.replace('"', "").strip()) for weight, sign, text in terms if text.strip(' "')]
    query = " ".join(f'{sign} {weight:f}*"{text}"' for weight, sign, text in kept)
    if kept:
        expected = [(float(f"{weight:f}") * (1 if sign == "+" else -1), text, False) for weight, sign, text in kept]
        assert read(query) == expected

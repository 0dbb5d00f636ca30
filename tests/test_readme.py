"""The README is short, and what it shows is run: its Python, its commands, its numbers of choices."""

import re
from pathlib import Path

import pytest

from seekloop.loop.session import Session
from tests.test_docs import blocks, check_command, commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_read_in_five_minutes():
    assert len(README.split()) <= 1000


def test_the_example_from_python(tmp_path, monkeypatch):
    """Two rounds of ten questions on fewer scenes: nobody is asked twice, the ranking names ten different images."""
    asked = []
    answer = Session.answer
    monkeypatch.setattr(Session, "answer", lambda self, replies: (asked.extend(replies), answer(self, replies))[1])
    monkeypatch.chdir(tmp_path)
    source = next(block for block in blocks(README, "python") if "seekloop.session" in block)
    assert len(source.strip().splitlines()) <= 10
    scope = {}
    exec(source.replace('"collection=scenes"', '"collection=scenes", "collection.images=60"'), scope)
    assert len(asked) == len(set(asked)) == 20
    ranking = scope["search"].ranking(10)
    assert len(set(ranking)) == 10
    assert set(ranking) <= set(range(60))
    assert int((scope["search"].answers != 0).sum()) == 1 + 5 + 20


@pytest.mark.parametrize(("name", "arguments"), list(commands(README)))
def test_every_command_is_one(name, arguments):
    check_command(name, arguments)


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make (\w+)`|^make (\w+)", README, re.MULTILINE))
    assert {word for match in named for word in match if word} <= targets


def test_it_counts_the_choices():
    """The upper bound is no representation; a grid and annotated boxes are no detectors."""
    groups = {
        "representations": ("representation", {"box"}),
        "classifiers": ("classifier", set()),
        "criteria": ("criterion", set()),
        "region detectors": ("regions", {"grid", "boxes"}),
    }
    for what, (group, apart) in groups.items():
        names = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")} - apart
        assert f"{len(names)} {what}" in " ".join(README.split())


def test_its_links_lead_somewhere():
    linked = [target for target in re.findall(r"\]\(([^)#]+)", README) if "://" not in target]
    assert linked
    assert [target for target in linked if not (ROOT / target).exists()] == []

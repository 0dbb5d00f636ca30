"""What the README shows is run: its Python, its commands, its criterion, its tree."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import instantiate

from seekloop.commands.cli import COMPOSED, PLAIN
from seekloop.commands.compose import resolve
from seekloop.contracts.records import CandidateView
from seekloop.loop.session import Session

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def command_lines():
    for line in "\n".join(blocks("bash")).replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def calls():
    for words in command_lines():
        words = [word for word in words if word != "PYTHONPATH=."]
        if words[0] == "seekloop":
            _, name, *rest = words
            yield pytest.param(name, rest, id=" ".join([name, *rest]))


def test_the_example_from_python(tmp_path, monkeypatch):
    """Two rounds of ten questions on fewer scenes: nobody is asked twice, the ranking names ten different images."""
    asked = []
    answer = Session.answer
    monkeypatch.setattr(Session, "answer", lambda self, replies: (asked.extend(replies), answer(self, replies))[1])
    monkeypatch.chdir(tmp_path)
    source = next(block for block in blocks("python") if "seekloop.session" in block)
    assert len(source.strip().splitlines()) <= 10
    scope = {}
    exec(source.replace('"collection=scenes"', '"collection=scenes", "collection.images=60"'), scope)
    assert len(asked) == len(set(asked)) == 20
    ranking = scope["search"].ranking(10)
    assert len(set(ranking)) == 10
    assert set(ranking) <= set(range(60))
    assert int((scope["search"].answers != 0).sum()) == 1 + 5 + 20


@pytest.mark.parametrize(("name", "arguments"), list(calls()))
def test_every_command_is_one(name, arguments):
    """Its overrides compose; of a sweep, the first run's. Configs of the reader's own are left out."""
    if name in PLAIN:
        return
    assert name in COMPOSED
    own = "--config-dir=conf" in arguments
    overrides = [word for word in arguments if not word.startswith("-") and not (own and word.startswith("criterion="))]
    resolve(name, [word.split(",")[0] for word in overrides])


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\(make (\w+)\)|`make (\w+)`|^make (\w+)", README, re.MULTILINE))
    assert {word for match in named for word in match if word} <= targets


def test_the_criterion_it_adds(tmp_path, monkeypatch):
    """Scores 3, 1, -1, -4: by hand, the likely ones nearest first (1, 3), then -1, at 100 - -1 = 101."""
    code = next(block for block in blocks("python") if "class NearestFirst" in block)
    (tmp_path / "nearest_first.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    criterion = instantiate(yaml.safe_load(blocks("yaml")[0]))
    scores = torch.tensor([[3.0, 1.0, -1.0, -4.0]])
    view = CandidateView(
        scores, torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, dtype=torch.int8), lambda: torch.eye(4), 0
    )
    assert criterion(view, 3, [torch.Generator()]).tolist() == [[1, 0, 2]]


def test_the_tree_names_every_folder():
    listed = set(re.findall(r"^  (\w+)/ ", README, re.MULTILINE)) - {"experiment", "sweeps"}  # of conf
    folders = {path.parent.name for path in (ROOT / "src" / "seekloop").glob("*/__init__.py")}
    assert listed == folders
    tops = set(re.findall(r"^(\w+)/ ", README, re.MULTILINE))
    assert [name for name in tops if not (ROOT / name).is_dir()] == []

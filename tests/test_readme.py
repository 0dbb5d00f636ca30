"""The README is short, and what it shows is run: its Python, its commands, its numbers of choices."""

import re
from pathlib import Path

import pytest
import yaml

from seekloop.commands.kinds import KINDS
from seekloop.logs.report import report
from seekloop.loop.session import Session
from tests.commands.runs import places, seekloop, worked
from tests.logs.test_comparison import run
from tests.test_docs import blocks, check_command, commands

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_read_in_five_minutes():
    assert len([word for word in README.split() if re.search(r"\w", word)]) <= 1000


def table_of(page):
    """The first table of a page in Markdown that has a column `map_auc`: its header and its rows."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    first = next(number for number, line in enumerate(lines) if "map_auc" in line)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first : first + 6]]
    return cells[0], cells[2:]


def reported(folder, capsys):
    """The report that `make demo` ends with: the columns it prints, and its rows."""
    capsys.readouterr()
    report(folder, ["representation"], [], KINDS)
    header = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(" representation"))
    return re.split(r"\s{2,}", header.strip()), table_of((folder / "report_representation.md").read_text())


def test_the_demo_prints_the_table_that_stands_here(tmp_path, capsys):
    """The same rows in the same order under the same columns; the site's first page has the same table."""
    for local, fusion in (("none", "none"), ("all", "none"), ("all", "concat"), ("all", "pool")):
        run(tmp_path / f"{local}{fusion}", local, 0, {"cat": (0.2, 0.4), "dog": (0.4, 0.4)}, fusion=fusion)
    printed, (columns, rows) = reported(tmp_path, capsys)
    header, lines = table_of(README)
    assert header == printed
    assert [line[0] for line in lines] == [row[columns.index("representation")] for row in rows]
    assert table_of((ROOT / "docs" / "index.md").read_text()) == (header, lines)
    demo = yaml.safe_load((ROOT / "conf" / "experiment" / "demo.yaml").read_text())
    swept = demo["hydra"]["sweeper"]["params"]["representation"].split(",")
    assert [line[0].lower().replace("-", "_") for line in lines] == swept
    assert "report runs/demo by=representation\n" in (ROOT / "Makefile").read_text()


@pytest.mark.slow
def test_the_demos_numbers_are_those_that_stand_here(tmp_path, capsys):
    """To the digits that hold in bfloat16 and in float32: MAP to 0.005, coverage to 0.01."""
    command = (
        "retrieve",
        "-m",
        "experiment=demo",
        "wandb.mode=disabled",
        *places(tmp_path / "runs", tmp_path / "stores"),
    )
    worked(seekloop(*command))
    _, (columns, rows) = reported(tmp_path / "runs" / "demo", capsys)
    header, lines = table_of(README)
    for name, near in (("map_auc", 0.005), ("coverage_auc", 0.01)):
        found, stands = (
            [float(row[names.index(name)]) for row in table] for names, table in ((columns, rows), (header, lines))
        )
        assert found == pytest.approx(stands, abs=near)


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

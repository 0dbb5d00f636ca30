"""The client that docs/browser.md shows."""

import builtins
import re
from pathlib import Path

from tests.app.parts import EVERY
from tests.app.test_load import running

PAGE = (Path(__file__).parents[2] / "docs" / "browser.md").read_text(encoding="utf-8")


def shows(path):
    return int(Path(path).stem) % EVERY == 0


def test_the_client_of_the_page_searches_and_prints_what_it_found(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) <= 20
    asked = []

    def person(question):
        asked.append(question.partition(" ")[0])
        return "yes" if shows(asked[-1]) else "no"

    monkeypatch.setattr(builtins, "input", person)
    with running(tmp_path) as (address, served):
        exec(code.replace("http://127.0.0.1:7332", address), {})
        (summary,) = served.searches.summaries()
    first, *ranked = capsys.readouterr().out.splitlines()
    assert len(asked) == len(set(asked)) == 10
    found = 1 + sum(map(shows, asked))
    assert first == f"{found} found"
    assert (summary.title, summary.round, summary.found) == ("from a program", 3, found)
    answers = {line.split(" ")[0]: line.split(" ")[2] for line in ranked}
    assert len(answers) == 10
    assert all((answer == "yes") == shows(path) for path, answer in answers.items() if answer in ("yes", "no"))
    assert sum(map(shows, answers)) == 10, "12 of the 36 show it, and the most likely ten are among them"

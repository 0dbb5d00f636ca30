import functools
import re

import pandas as pd
from rich.console import Console

from seekloop.logs import tables


def test_a_narrow_terminal_loses_nothing(monkeypatch, capsys):
    """Words go over several lines; numbers are never broken."""
    monkeypatch.setattr(tables, "Console", functools.partial(Console, force_terminal=True, width=48))
    words = ["0.456 ± 0.019 [0.407, 0.504]", "ConfigError: grid=9x9 is finer than the tokens", "gl_concat_all"]
    tables.print_table(pd.DataFrame([[*words, 0.25]], columns=["map_auc", "error", "run", "map"]))
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "…" not in out
    assert "0.250" in out
    found = "".join(sorted(out.replace("─", "")))
    assert all(found.count(letter) >= "".join(words).count(letter) for letter in set("".join(words)) - {" "})

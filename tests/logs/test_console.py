import pandas as pd

from seekloop.logs.console import Console, in_a_line


def rows(aps):
    return pd.DataFrame([{"class_name": name, "ap": ap, "coverage": 0.5, "positives": 4} for name, ap in aps])


def test_classes_count_equally():
    """Cat .2 and .4, dog .9: (.3 + .9) / 2; over queries it would be .5."""
    assert in_a_line(rows([("cat", 0.2), ("cat", 0.4), ("dog", 0.9)])) == "MAP 0.600, coverage 0.500, 4.0 found"


def test_a_file_gets_an_estimate_and_every_fifth_round(capsys):
    with Console().rounds(7, first=0) as show:
        for number in range(8):
            show(number, rows([("cat", 0.1 * number)]))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("round")] == ["round 0/7", "round 5/7", "round 7/7"]
    assert [line for line in lines if line.endswith("for the rounds to come")] == [lines[1]]

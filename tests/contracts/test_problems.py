from seekloop.contracts.problems import Problem, ProblemKind, counted, first_reasons, summarised

PROBLEMS = [
    Problem("a.jpg", "turned", ProblemKind.NOTE, 3),
    Problem("b.cr2", "raw", ProblemKind.FILE, 2),
    Problem("line 4", "no class"),
    Problem("c.json", "crowds", ProblemKind.BY_RULE, 7),
    Problem("line 9", "no class"),
]


def test_objects_and_files_are_counted_by_what_they_mean():
    assert counted(PROBLEMS) == {"objects_lost": 2, "objects_by_rule": 7, "files_not_taken": 2, "notes": 3}
    assert summarised(PROBLEMS) == "2 objects lost, 7 objects left out by rule, 2 files not taken, 3 notes"
    assert summarised([]) == ""


def test_losses_are_told_first_and_equal_reasons_once():
    assert first_reasons(PROBLEMS) == [
        "line 4 and 1 more: no class",
        "b.cr2: raw",
        "c.json: crowds",
        "a.jpg: turned",
    ]
    assert first_reasons(PROBLEMS, 2) == ["line 4 and 1 more: no class", "b.cr2: raw", "... and 2 more reasons"]

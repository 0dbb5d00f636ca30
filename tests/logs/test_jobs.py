import pytest
from hypothesis import given
from hypothesis import strategies as st

from seekloop.logs.jobs import APART, JobBook, settings_key

VALUES = st.sampled_from([0, 1, True, None, "0", 1.5])
CONFIGS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def told(book):
    return {key: (job.overrides, job.run, job.error) for key, job in book.jobs().items()}


def test_sweeps_into_one_folder_add_up(tmp_path):
    """Another process plans jobs of which one is known and has begun: it stays begun."""
    JobBook(tmp_path).plan({"a": ["seed=0"], "b": ["seed=1"]})
    JobBook(tmp_path).started("b", "run-b")
    JobBook(tmp_path).plan({"b": ["seed=1", "launcher=joblib"], "c": ["seed=2"]})
    assert told(JobBook(tmp_path)) == {
        "a": (("seed=0",), None, None),
        "b": (("seed=1",), "run-b", None),
        "c": (("seed=2",), None, None),
    }


def test_overrides_that_come_to_mean_other_settings_are_one_job_still(tmp_path):
    book = JobBook(tmp_path)
    book.plan({"old": ["seed=0"], "other": ["seed=1"]})
    book.plan({"new": ["seed=0"]})
    assert list(book.jobs()) == ["new", "other"]


def test_a_run_that_no_sweep_asked_for_is_not_noted(tmp_path):
    JobBook(tmp_path).started("k", "run")
    JobBook(tmp_path).failed("k", ValueError("no"))
    assert not list(tmp_path.iterdir())


def test_jobs_without_a_folder_stand_under_what_tells_them_apart(tmp_path):
    book = JobBook(tmp_path)
    book.plan({"a": ["grid=4x4", "local=all", "seed=0"], "b": ["grid=4x4", "local=none", "seed=0"]})
    assert [words for _, words, _ in book.waiting()] == ["local=all", "local=none"]
    book.started("a", "run-a")
    (tmp_path / "run-a").mkdir()
    assert len(book.waiting()) == 2  # killed before it had written anything
    (tmp_path / "run-a" / "config.yaml").touch()
    assert [words for _, words, _ in book.waiting()] == ["local=none"]


def test_a_single_job_stands_under_all_it_was_asked(tmp_path):
    JobBook(tmp_path).plan({"a": ["local=all", "seed=0"]})
    assert [words for _, words, _ in JobBook(tmp_path).waiting()] == ["local=all seed=0"]


@given(CONFIGS, CONFIGS)
def test_settings_have_one_name_each(one, other):
    """Whatever their order; a word is not a number, and a number no truth value."""
    same = repr(sorted(one.items())) == repr(sorted(other.items()))
    assert (settings_key(one) == settings_key(other)) == same
    assert settings_key(dict(reversed(one.items()))) == settings_key(one)


@pytest.mark.parametrize("key", APART)
def test_where_a_run_goes_and_who_is_told_changes_nothing(key):
    assert settings_key({"seed": 0, key: "here"}) == settings_key({"seed": 0})

import os
import re
import shlex
import subprocess

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from seekloop.commands.compose import resolve
from seekloop.commands.configs import conf_dir
from seekloop.commands.quoting import check_text, for_shell, quoted, quoting_hints, takes_text
from seekloop.contracts.errors import ConfigError
from tests.commands.runs import refused, seekloop

NAMES = [
    *("fêtes", "a=b", "trip (1)", "no#1", "mum's", "{old}", "[old] ones", "a&b", "a!b", "a;b", "~/photos", "a<b"),
    *('12" prints', "mum's 12\" prints", '"', "'", '"half', "写真", "😀", "f(x)", "[", "]", "{", "a\nb"),
    *("a=b\\", "C:\\fêtes\\", 'é\\"', "é\\'", "é $5", "é `x`", "é \\\\ x", "50%=é", "é:x", "é*?", " é ", "é,b", "a,b"),
]
TEXT = st.text(st.sampled_from("ab \\\"'$(){}[],=#:%é写~!&;`\n"), min_size=1, max_size=8).filter(
    lambda t: "${" not in t
)


def from_shell(words):
    """What a shell makes of words that were typed into it."""
    script = f"printf '%s\\0' {words}"
    return subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")[:-1]


def value_of(override):
    """What a config holds after an override: the one value, in a single run."""
    parsed = OverridesParser.create().parse_override(override)
    assert not parsed.is_sweep_override()
    return OmegaConf.create({"value": parsed.value()}).value


def values_of(override):
    """The values of each run of a multirun, as its sweeper hands them on."""
    (jobs,) = BasicSweeper.split_arguments([OverridesParser.create().parse_override(override)], None)
    return [value_of(job) for (job,) in jobs]


def typed(hint):
    """The words that a hint says to type instead."""
    return re.sub(r" \((one value|a list).*", "", hint.partition(": ")[2], flags=re.DOTALL)


@pytest.mark.parametrize("name", NAMES)
def test_the_words_of_a_hint_typed_into_a_shell_give_the_name(name):
    (hint,) = quoting_hints([f"collection.root={name}"])
    (word,) = from_shell(typed(hint))
    assert value_of(word) == name
    assert resolve("extract", ["collection=folder", word]).collection.root == name
    assert quoting_hints([word]) == []


@pytest.mark.parametrize("name", [name for name in NAMES if "," not in name])
def test_in_a_multirun_too(name):
    (hint,) = quoting_hints(["-m", f"collection.root={name}"])
    (word,) = from_shell(typed(hint))
    assert values_of(word) == [name]


def test_in_a_multirun_commas_part_values_and_only_those_that_need_it_are_quoted():
    (hint,) = quoting_hints(["collection.root=fêtes,old,[x],a b,'c,d'", "--multirun"])
    assert hint.startswith("Quote each value: ")
    assert values_of(*from_shell(typed(hint))) == ["fêtes", "old", "[x]", "a b", "c,d"]
    one = hint.partition("(one value with commas in it: ")[2].removesuffix(")")
    assert value_of(*from_shell(one)) == "fêtes,old,[x],a b,'c,d'"


def test_names_in_a_list_are_quoted_one_by_one():
    (hint,) = quoting_hints(["loop.classes=[cup,Tasse à café,'x, y', [é]]"])
    assert value_of(*from_shell(typed(hint))) == ["cup", "Tasse à café", "x, y", ["é"]]
    (hint,) = quoting_hints(["loop.classes=cup,tasse à café"])
    listed = hint.partition("(a list: ")[2].partition("; several runs")[0]
    assert value_of(*from_shell(listed)) == ["cup", "tasse à café"]


@given(TEXT)
def test_any_text_comes_through_quotes_as_it_is(text):
    assert value_of(f"a={quoted(text)}") == text
    assert values_of(f"a={quoted(text)}") == [text]


@given(TEXT)
def test_any_word_comes_through_the_shell_as_it_is(text):
    (word,) = shlex.split(for_shell(text)) or [""]
    assert word == text


def test_a_shell_agrees():
    words = [f"a={quoted(name)}" for name in NAMES]
    assert from_shell(" ".join(for_shell(word) for word in words)) == words


@given(TEXT, st.booleans())
def test_a_hint_is_never_wrong(text, multirun):
    for hint in quoting_hints([*(["-m"] if multirun else []), f"collection.root={text}"]):
        (word,) = shlex.split(typed(hint))
        if not multirun:
            assert value_of(word) == text
        elif not hint.startswith("Quote each"):
            assert values_of(word) == [text]


def test_a_value_that_the_shell_has_split_is_put_together():
    (hint,) = quoting_hints(["collection=folder", "collection.root=my", "photos"])
    assert hint.startswith("'photos' is no key=value.")
    assert value_of(*from_shell(hint.rpartition(": ")[2])) == "my photos"


@pytest.mark.parametrize(
    "arguments",
    [
        ["collection.root=photos", "loop.budget=3"],
        ["-m", "seed=0,1", "representation/local=all,none"],
        ["--config-dir", "my é", "seed=0"],
        ["~paper", "+numbers.x=1"],
        ["é=1"],  # the fault is in the key
    ],
)
def test_what_hydra_can_read_needs_no_hint(arguments):
    assert quoting_hints(arguments) == []


@pytest.mark.parametrize(
    ("word", "got", "typed_instead"),
    [
        ("collection.root=[old]", "['old']", "'collection.root=\"[old]\"'"),
        ("collection.root={a:1}", "{'a': 1}", "'collection.root=\"{a:1}\"'"),
        ("collection.root=1e3", "1000.0", "'collection.root=\"1e3\"'"),
        ("collection.root=1_000", "1000", "'collection.root=\"1_000\"'"),
        ("collection.root=true", "True", "'collection.root=\"true\"'"),
        ("collection.root=null", "None", "'collection.root=\"null\"'"),
        ("collection.boxes=nan", "nan", "'collection.boxes=\"nan\"'"),
        ("experiment_name=2026", "2026", "'experiment_name=\"2026\"'"),
        ("store_dir=null", "None", "'store_dir=\"null\"'"),
        ("wandb.project=7", "7", "'wandb.project=\"7\"'"),
    ],
)
def test_a_name_that_hydra_takes_for_something_else_is_told(word, got, typed_instead):
    key = word.partition("=")[0]
    said = refused(seekloop("retrieve", "collection=folder", word))
    assert said.startswith(f"error: {key}={got} cannot work: ")
    assert said.endswith(f"quote the value: {typed_instead}")
    assert value_of(*from_shell(typed_instead)) == word.partition("=")[2]


@pytest.mark.parametrize("value", ["${nowhere}", '"a\\${b}"'])
def test_a_reference_to_nothing_is_told(value):
    assert "stands for the value of another key" in refused(
        seekloop("retrieve", "collection=folder", f"collection.root={value}")
    )


def test_an_empty_name_is_told_because_a_variable_of_the_shell_may_not_be_set():
    assert "it is empty, as where a variable of the shell" in refused(
        seekloop("extract", "collection=folder", "collection.root=")
    )


def test_hydras_message_is_followed_by_the_words_to_type():
    outcome = seekloop("retrieve", "collection=folder", "collection.root=fêtes")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "Quote the value: 'collection.root=\"fêtes\"'"
    outcome = seekloop("retrieve", "collection=folder", "collection.root=a,b")
    assert "To sweep over it, add --multirun" in outcome.err
    assert outcome.err.splitlines()[-1] == "Quote the value: 'collection.root=\"a,b\"'"


def test_the_quoted_folder_is_what_the_command_looks_for(tmp_path):
    for name in ("fêtes (1), [old]", "mum's"):
        word = f"collection.root={quoted(str(tmp_path / name))}"
        assert name in refused(seekloop("extract", "collection=folder", word, f"store_dir={tmp_path}"))


def test_m_may_stand_between_overrides(tmp_path):
    outcome = seekloop("retrieve", f"runs_dir={tmp_path}", "-m", "collection=folder", "collection.root=[old]")
    assert "is read as a list" in outcome.err
    assert "unrecognized arguments" not in outcome.err


def test_from_python_it_is_said_too():
    with pytest.raises(ConfigError, match=r"collection.root=\['old'\] cannot work.*\"\[old\]\""):
        check_text(resolve("extract", ["collection=folder", "collection.root=[old]"]), [])


def test_keys_that_take_text_have_text_in_every_config():
    found = set()
    for path in conf_dir().rglob("*.yaml"):
        if "sweeps" in path.parts:
            continue
        config = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        group = os.path.relpath(path.parent, conf_dir()).replace(".", "")
        for key, value in config.items():
            whole = ".".join(word for word in (group, str(key)) if word)
            if takes_text(whole):
                found.add(whole)
                assert value is None or isinstance(value, str), whole
    assert {"collection.root", "collection.boxes", "dataset.root", "instances.root", "backbone.checkpoint"} <= found
    assert {"store_dir", "runs_dir", "experiment_name", "wandb.project", "instances.distractors"} <= found

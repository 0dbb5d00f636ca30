"""Every default stands twice: in a constructor, for Python, and in one YAML with a comment, for the command line."""

import inspect
from dataclasses import MISSING

import pytest
from hydra.utils import get_object, instantiate

from seekloop.commands.configs import conf_dir, load_entry

CONF = conf_dir()
ENTRIES = [path for path in sorted(CONF.glob("*/**/*.yaml")) if "_target_" in load_entry(path)]
GIVEN_BY_THE_RUN = {"annotations", "seed", "draws_boxes"}  # of the simulated user
OTHERS_ARGUMENTS = {"claid_ncut"}  # its bisection takes other arguments, which would come on top of those inherited
PAIRS = {"spatial_diffusion", "spatial_expansion"}  # two re-rankers in turn, whose own files state the defaults


def inherits(path):
    """Whether a file says only what differs from another of its class."""
    lines = path.read_text().splitlines()
    named = [line.strip(" -").partition("@")[0] for line in lines if line.startswith("  - ") and ":" not in line]
    parents = [load_entry(path.parent / f"{name}.yaml") for name in named if name != "_self_"]
    return any("_target_" in parent for parent in parents)


ROOTS = [path for path in ENTRIES if not inherits(path)]


def bases():
    """The file of each class that states its defaults."""
    return [path for path in ROOTS if path.stem not in OTHERS_ARGUMENTS | PAIRS]


@pytest.mark.parametrize("path", bases(), ids=lambda path: str(path.relative_to(CONF)))
def test_the_constructor_has_the_defaults_of_the_yaml(path):
    values = load_entry(path)
    target = get_object(values.pop("_target_"))
    values.pop("_partial_", None)
    parameters = inspect.signature(target).parameters
    made = {one.name: one.default_factory for one in getattr(target, "__dataclass_fields__", {}).values()}
    for name, value in values.items():
        if isinstance(value, str) and ("${" in value or value == "???"):
            continue  # another key's, or one that must be given
        if path.parent.name == "regions" and name in ("feature", "backbone", "shape"):
            continue  # the paper's, which differ from detector to detector
        default = parameters[name].default
        default = default if made.get(name, MISSING) is MISSING else made[name]()
        assert default is not inspect.Parameter.empty, f"{name} has no default; the YAML says {value!r}"
        if isinstance(value, dict) and "_target_" in value:
            value = instantiate(value)
        assert plain(default) == plain(value), f"{name}: {default!r} in the constructor, {value!r} in the YAML"


def plain(value):
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def test_one_file_states_the_defaults_of_a_class_and_others_inherit_it():
    by_class = {}
    for path in bases():
        if path.parent.name not in ("representation", "regions"):  # pairs of parts, whose classes state the defaults
            by_class.setdefault(load_entry(path)["_target_"], []).append(str(path.relative_to(CONF)))
    assert {target: paths for target, paths in by_class.items() if len(paths) > 1} == {}


def test_an_inherited_value_is_not_said_again():
    """But where the comment has more to say."""
    again = []
    for path in ENTRIES:
        text = path.read_text()
        base = text.partition("defaults:\n  - ")[2].partition("\n")[0].partition("@")[0]
        if base in ("", "_self_") or ":" in base or path in ROOTS:
            continue
        inherited, own = load_entry(path.parent / f"{base}.yaml"), text.splitlines()
        lines = (path.parent / f"{base}.yaml").read_text().splitlines()
        said = [line for line in own if line in lines and line.partition(": ")[0] in inherited]
        again += [f"{path.stem}: {line}" for line in said if not line.partition(":")[2].strip().startswith("#")]
    assert again == []

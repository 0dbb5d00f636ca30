"""What is imported, and when: each command in a process of its own, which tells what it has loaded."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch
import yaml

import seekloop
from seekloop.learning.kind import LEARNING
from seekloop.logs.run_folder import RunFolder
from tests.logs.fakes import fill, run_folder

ROOT = Path(__file__).parents[1]

NETWORKS = {"torch", "torchvision", "timm", "pytorch_lightning", "lightning_fabric", "torchmetrics", "huggingface_hub"}
SOLVERS = {"numba", "sklearn", "faiss", "joblib"}
TABLES = {"pandas", "pyarrow", "numpy"}
DRAWING = {"matplotlib", "PIL"}
HEAVY = NETWORKS | SOLVERS | TABLES | DRAWING | {"scipy", "wandb", "hydra", "omegaconf", "rich", "jaxtyping"}

TELLING = """
import json, sys
from seekloop.__main__ import main
sys.argv = ["seekloop", *sys.argv[1:]]
try:
    main()
except SystemExit as ending:
    assert not ending.code
print(json.dumps(sorted(sys.modules)))
"""
SEARCHING = """
import sys
import tomllib
from importlib.metadata import packages_distributions
sys.modules["numba"] = sys.modules["pyarrow"] = None  # importing them fails
import seekloop, torch
from tests.worlds import blobs
world = blobs(60, classes=("star",))
stars = world.relevant[0].nonzero()[:, 0].tolist()
overrides = ["engine=gpu", "engine.device=cpu", "representation=gl_concat_all", "loop.budget=6"]
box = world.annotations.largest_box(stars[0], 0).tolist()
search = seekloop.session(world.descriptors, stars[0], overrides, fractions=box)
for _ in range(3):
    search.answer({item.image: item.image in stars for item in search.ask()})
print(type(search.loop.classifier).__name__, sorted(search.ranking(len(stars))) == stars)
"""
TORCHVISION = """
import torch
try:
    torch.library.register_fake("torchvision::nms")(lambda dets, scores, iou_threshold: dets)
    defined = True
except RuntimeError:
    defined = False
"""


def python(*arguments, **settings):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, **settings
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def loaded(program, *arguments):
    """Which heavy packages a program has imported at its end."""
    modules = json.loads(python("-c", program, *arguments).splitlines()[-1])
    return {name.partition(".")[0] for name in modules} & HEAVY


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished searches that differ in their seeds, and one of each kind that is not finished."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        fill(run_folder(folder / f"s{seed}"))
        told = {"seed": seed, "choices": {"local": "none"}, "wandb": {"mode": "disabled"}}
        (folder / f"s{seed}" / "config.yaml").write_text(yaml.safe_dump(told))
    fill(run_folder(folder / "interrupted"), until=1)
    learning = RunFolder(folder / "learning", LEARNING)
    with learning.claim():
        learning.write_config("command: learn\n")
    return folder


def test_importing_the_package_imports_nothing_else():
    assert loaded("import json, sys, seekloop\nprint(json.dumps(sorted(sys.modules)))") == set()


def test_help_imports_nothing():
    assert loaded(TELLING, "--help") == set()


def test_the_help_of_a_command_imports_what_composes_configs():
    assert not loaded(TELLING, "retrieve", "--help") & (NETWORKS | DRAWING | {"numba", "sklearn", "scipy", "wandb"})


def test_status_imports_what_reads_and_prints_tables(runs):
    assert loaded(TELLING, "status", str(runs)) == TABLES | {"rich"}


def test_report_imports_what_draws_too(runs):
    found = loaded(TELLING, "report", str(runs), "wandb=disabled")
    assert found >= TABLES | DRAWING
    assert not found & (NETWORKS | SOLVERS | {"wandb", "hydra", "omegaconf"})


def test_a_search_on_a_gpu_needs_neither_numba_nor_pyarrow():
    assert python("-c", SEARCHING).split() == ["SvmTorch", "True"]


def test_public_names_are_there_without_being_imported():
    """Loop, store and composition need torch and Hydra; solvers, networks and tables come with what needs them."""
    program = "import json, seekloop, sys\nassert set(seekloop.__all__) <= set(dir(seekloop))\n"
    program += f"assert 'torch' not in sys.modules\nfrom seekloop import {', '.join(seekloop.__all__)}\n"
    program += "print(json.dumps(sorted(sys.modules)))"
    found = loaded(program)
    assert found >= {"torch", "hydra"}
    assert not found & (SOLVERS | NETWORKS - {"torch"} | {"pandas", "pyarrow", "matplotlib", "wandb", "scipy"})


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'search'"):
        _ = seekloop.search


@pytest.fixture
def cuda_torchvision(tmp_path):
    """A torchvision that says it is built for CUDA, and whether it has found its operators when it was imported."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "version.py").write_text("__version__ = '0.99.0+cu130'\n")
    (package / "__init__.py").write_text(TORCHVISION)
    return tmp_path


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built for CUDA")
@pytest.mark.parametrize(("first", "defined"), [("import seekloop", "True"), ("pass", "False")])
def test_torchvision_finds_its_operators_whoever_imports_it(cuda_torchvision, first, defined):
    """Without seekloop they are not defined."""
    program = f"import sys\nsys.path.insert(0, {str(cuda_torchvision)!r})\n{first}\n"
    program += "assert 'torch' not in sys.modules\nimport torchvision\nprint(torchvision.defined)"
    assert python("-c", program).split() == [defined]


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built for CUDA")
def test_looking_for_torchvision_without_importing_it_defines_nothing(cuda_torchvision):
    program = f"import sys, importlib.util\nsys.path.insert(0, {str(cuda_torchvision)!r})\nimport seekloop\n"
    program += "found = importlib.util.find_spec('torchvision')\nprint(found is not None, 'torch' in sys.modules)"
    assert python("-c", program).split() == ["True", "False"]


def test_a_process_that_is_spawned_imports_seekloop_before_what_it_is_sent(tmp_path):
    """As of `python -m seekloop ... trainer=ddp`: the function that is sent is of another package."""
    (tmp_path / "sent.py").write_text(
        "import sys\nSEEN = 'seekloop' in sys.modules\ndef tell(queue):\n    queue.put(SEEN)\n"
    )
    program = f"""
import runpy, sys
sys.path.insert(0, {str(tmp_path)!r})
import seekloop.commands.cli as cli

def spawn(arguments):
    import multiprocessing, sent
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=sent.tell, args=(queue,))
    child.start()
    print(queue.get(timeout=60))
    child.join()

cli.run = spawn
sys.argv = ["seekloop"]
runpy.run_module("seekloop", run_name="__main__", alter_sys=True)
"""
    assert python("-c", program).split() == ["True"]


def test_what_is_imported_is_declared():
    """Hydra would bring OmegaConf, and scikit-learn joblib, in whatever versions they like."""
    trees = [ast.parse(file.read_text()) for file in (ROOT / "src").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    imported = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"seekloop"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.match(r"[\w-]+", line)[0].replace("-", "_") for line in lines}
    brought = {name: {one.lower().replace("-", "_") for one in by} for name, by in packages_distributions().items()}
    assert {name for name in imported if not declared & brought.get(name, set())} == set()
    assert {"omegaconf", "PIL", "sklearn", "yaml"} <= imported

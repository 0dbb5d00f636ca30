import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from seekloop.classifiers.svm_cuml import SvmCuml
from seekloop.classifiers.svm_sklearn import SvmSklearn
from seekloop.contracts.errors import ConfigError, MissingExtraError
from tests.classifiers import cuml_double
from tests.classifiers.rows import problems
from tests.commands.runs import SMALL, folder_of, places, seekloop, worked


@pytest.fixture
def double(monkeypatch):
    for name, module in cuml_double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)


class OnDevice(torch.Tensor):
    """A tensor that is as unsociable as one on a GPU: neither NumPy nor tensors of the host have to do with it."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ in ("numpy", "__array__"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        with torch._C.DisableTorchFunctionSubclass():
            moved = function.__name__ == "to" and isinstance(args[-1], cls)
            known = [one for one in args if isinstance(one, torch.Tensor) and one.ndim]
            if not moved and any(not isinstance(one, cls) for one in known):
                raise RuntimeError("Expected all tensors to be on the same device")
            found = function(*args, **kwargs or {})
            if not isinstance(found, torch.Tensor):
                return found
            return found.as_subclass(torch.Tensor if function.__name__ == "cpu" else cls)


@pytest.mark.usefixtures("double")
def test_rows_of_a_gpu_are_brought_to_cuml_and_the_hyperplanes_back():
    here = problems([30, 60], 24)
    names = ("table", "index", "labels", "weights", "mask", "query")
    there = replace(here, **{name: getattr(here, name).as_subclass(OnDevice) for name in names})
    with pytest.raises(TypeError, match=r"Use Tensor\.cpu"):
        there.table.numpy()
    with pytest.raises(RuntimeError, match="same device"):
        there.table + here.table
    found = SvmCuml(1.0, "balanced", 1e-8, 1000, 1e-2).fit(there, None)
    wanted = SvmSklearn(1.0, "balanced", 1e-10, 1_000_000).fit(here, None)
    assert isinstance(found.weights, OnDevice)
    assert isinstance(found.intercept, OnDevice)
    torch.testing.assert_close(found.weights.cpu(), wanted.weights, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.intercept.cpu(), wanted.intercept, atol=1e-4, rtol=0)


@pytest.mark.usefixtures("double")
def test_with_the_gpus_engine_it_plays_whole_searches(monkeypatch, tmp_path):
    """The solver named on the command line, not the one that `engine=gpu` brings; on the CPU here."""
    fits, fit = [], cuml_double.LinearSVC.fit
    monkeypatch.setattr(
        cuml_double.LinearSVC,
        "fit",
        lambda self, rows, *more, **words: (fits.append(rows.dtype), fit(self, rows, *more, **words))[1],
    )
    command = ("retrieve", *SMALL, "engine=gpu", "engine.device=cpu", *places(tmp_path / "runs", tmp_path / "stores"))
    run, other = (
        folder_of(worked(seekloop(*command, f"classifier={solver}"))) for solver in ("svm_cuml", "svm_sklearn")
    )
    assert fits == [np.dtype("float64")] * 8  # two searches, fitted before each of three questions and after the last
    recipe = yaml.safe_load((run / "config.yaml").read_text())["recipe"]
    assert recipe["settings"]["classifier"]["class"] == "SvmCuml"
    areas = [json.loads((folder / "summary.json").read_text())["map_auc"] for folder in (run, other)]
    assert areas[0] == pytest.approx(areas[1], abs=1e-3)


def test_without_cuml_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuml", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seekloop\[cuml\]'"):
        SvmCuml(1.0, "none", 1e-6, 1000, 1e-2)


@pytest.mark.usefixtures("double")
def test_an_inaccurate_result_is_an_error():
    """The double ends early and in silence, as cuML does."""
    with pytest.raises(ConfigError, match=r"SvmCuml: max_iter=2 .*relative gradient"):
        SvmCuml(1.0, "none", 1e-6, 2, 1e-3).fit(problems([300], 40), None)


def test_the_double_is_as_strict_as_what_it_stands_for():
    with pytest.raises(TypeError, match="unexpected keyword"):
        cuml_double.LinearSVC(dual=True)
    with pytest.raises(TypeError, match="positional"):
        cuml_double.LinearSVC("l2")
    with pytest.raises(ValueError, match="2 classes"):
        cuml_double.LinearSVC().fit(torch.zeros(2, 1).numpy(), torch.ones(2).numpy())
    solver = cuml_double.LinearSVC().fit(torch.eye(2).numpy(), torch.tensor([1.0, -1.0]).numpy())
    with pytest.raises(TypeError, match="Implicit conversion"):
        torch.from_numpy(np.asarray(solver.coef_))


def benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "cuml_parity.py"
    spec = importlib.util.spec_from_file_location("cuml_parity", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("double")
def test_the_parity_benchmark_compares_where_it_can_and_says_what_ran(monkeypatch, capsys):
    parity = benchmark()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "no GPU")
    monkeypatch.setattr(parity, "SIZES", [(6, 8), (40, 24)])
    assert parity.main() == 0
    out = capsys.readouterr().out
    assert out.startswith("cuML 0 (a stand-in), no GPU, ")
    assert "agree" in out


@pytest.mark.parametrize(("gpu", "what"), [(False, "torch sees none"), (True, r"seekloop[cuml]")])
def test_the_parity_benchmark_says_why_it_cannot(monkeypatch, capsys, gpu, what):
    monkeypatch.setitem(sys.modules, "cuml", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert benchmark().main() == 2
    assert what in capsys.readouterr().out

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from seekloop.classifiers.svm_cuml import SvmCuml
from seekloop.contracts.errors import ConfigError, MissingExtraError
from tests.classifiers import cuml_double
from tests.classifiers.rows import problems


def test_without_cuml_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuml", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'seekloop\[cuml\]'"):
        SvmCuml(1.0, "none", 1e-6, 1000, 1e-2)


def test_an_inaccurate_result_is_an_error(monkeypatch):
    """The double ends early and in silence, as cuML does."""
    for name, module in cuml_double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
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


def test_the_parity_benchmark_compares_where_it_can(monkeypatch, capsys):
    for name, module in cuml_double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    parity = benchmark()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(parity, "SIZES", [(6, 8), (40, 24)])
    assert parity.main() == 0
    assert "agree" in capsys.readouterr().out


@pytest.mark.parametrize(("gpu", "what"), [(False, "torch sees none"), (True, r"seekloop[cuml]")])
def test_the_parity_benchmark_says_why_it_cannot(monkeypatch, capsys, gpu, what):
    monkeypatch.setitem(sys.modules, "cuml", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert benchmark().main() == 2
    assert what in capsys.readouterr().out

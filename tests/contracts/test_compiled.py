import pickle
import threading

import numpy as np
import pytest

from seekloop.contracts.compiled import Compiled, compiled
from seekloop.contracts.lazy import lazily


@compiled(False)
def squared(value):
    """The square."""
    return value * value


CALLING = """
def one(value):
    return value * value

def total(values):
    found = 0.0
    for value in values:
        found += one(value)
    return found
"""


def test_compiled_functions_call_each_other():
    """1 + 4 + 9 = 14. What has no file is not kept on disk, so both are compiled here, in every run."""
    scope = {"__name__": __name__}
    exec(CALLING, scope)
    one = scope["one"] = Compiled(scope["one"], False)
    total = Compiled(scope["total"], False)
    assert total(np.array([1.0, 2.0, 3.0])) == 14.0
    assert total._real.nopython_signatures
    assert one._real.nopython_signatures


def test_it_is_compiled_at_the_first_call_and_once():
    fresh = Compiled(lambda value: value + 1, False)
    assert "_real" not in vars(fresh)
    found = []
    threads = [threading.Thread(target=lambda: found.append(fresh(1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 4
    assert len(fresh._real.signatures) == 1


def test_it_keeps_its_name_and_is_pickled_by_it():
    assert (squared.__name__, squared.__doc__) == ("squared", "The square.")
    assert pickle.loads(pickle.dumps(squared)) is squared


def test_a_lazy_module_is_the_real_one_once_it_is_used():
    import colorsys

    late = lazily("colorsys")
    assert late.rgb_to_hsv is colorsys.rgb_to_hsv
    with pytest.raises(AttributeError, match="no_such"):
        _ = late.no_such
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        _ = lazily("no_such_package").anything

from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest
import pytorch_lightning as pl

from seekloop.lightning.progress import ImagesPerSecond, told


@pytest.mark.parametrize(("images", "told"), [(4, []), (5, ["for 1 more images"])])
def test_how_long_it_takes_is_said_after_two_batches_where_more_are_to_come(capsys, images, told):
    """Two batches of two images: of four nothing is left, of five one image."""
    trainer = create_autospec(pl.Trainer, instance=True, is_global_zero=True, world_size=1)
    module = create_autospec(pl.LightningModule, instance=True)
    bar = ImagesPerSecond("describe", 0, images)
    bar.on_predict_start(trainer, module)
    for batch in range(2):
        bar.on_predict_batch_end(trainer, module, SimpleNamespace(image=range(2)), None, batch)
    bar.on_predict_end(trainer, module)
    said = [line for line in capsys.readouterr().err.splitlines() if "more images" in line]
    assert [line[line.index("for ") :] for line in said] == told


def test_the_time_is_that_of_all_batches_after_the_first(capsys, monkeypatch):
    """100 s for the first batch, then 1, 1 and 4 s for one image each: 6 s for 3, so 14 s for the other 7 at warm=4."""
    now = iter((100.0, 106.0))
    monkeypatch.setattr("seekloop.lightning.progress.time.monotonic", lambda: next(now))
    trainer = create_autospec(pl.Trainer, instance=True, is_global_zero=True, world_size=1)
    module = create_autospec(pl.LightningModule, instance=True)
    bar = ImagesPerSecond("find", 0, 11, warm=4)
    bar.on_predict_start(trainer, module)
    for batch in range(4):
        bar.on_predict_batch_end(trainer, module, SimpleNamespace(image=range(1)), None, batch)
    bar.on_predict_end(trainer, module)
    assert "about 14 s for 7 more images" in capsys.readouterr().err


def test_progress_is_told_in_place_of_a_bar(capsys):
    """Three of eleven are done already; then two batches of four."""
    trainer = create_autospec(pl.Trainer, instance=True, is_global_zero=True, world_size=1)
    module = create_autospec(pl.LightningModule, instance=True)
    heard = []
    with told(lambda *words: heard.append(words)):
        bar = ImagesPerSecond("describe", 3, 11)
        bar.on_predict_start(trainer, module)
        for batch in range(2):
            bar.on_predict_batch_end(trainer, module, SimpleNamespace(image=range(4)), None, batch)
        bar.on_predict_end(trainer, module)
    assert heard == [("describe", 7, 11), ("describe", 11, 11)]
    assert capsys.readouterr().err == ""

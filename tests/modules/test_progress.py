from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest
import pytorch_lightning as pl

from seekloop.modules.progress import ImagesPerSecond


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

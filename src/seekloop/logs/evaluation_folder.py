"""Folders of runs that are measured once, at their end: of `seekloop search` and of `seekloop detect`."""

from collections.abc import Mapping
from typing import ClassVar

import pandas as pd
import pyarrow as pa

from seekloop.logs.run_folder import RunFolder

_BOX = [(side, pa.float64()) for side in ("x0", "y0", "x1", "y1")]


class EvaluationFolder(RunFolder):
    """Like a run of searches, in one step."""

    STEP: ClassVar[str] = "evaluation"

    def last_round(self) -> int | None:
        """0 once everything is there."""
        return 0 if self.complete.exists() else super().last_round()

    def keep(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Keep all tables, in place of those that an evaluation left which ended before it was complete."""
        if super().last_round() is not None:
            self._state(0).unlink()
        self.add(0, tables, None)


class SearchFolder(EvaluationFolder):
    """Of `seekloop search`.

    `results`: one row per query, setup and cut-off. `ranking`: the first images of each query.
    """

    TABLES: ClassVar[Mapping[str, pa.Schema]] = {
        "results": pa.schema(
            [
                ("query", pa.int32()),
                ("name", pa.string()),
                ("setup", pa.string()),
                ("cutoff", pa.string()),
                ("positives", pa.int32()),
                *((name, pa.float64()) for name in ("ap", "ap_trapezoid", "precision", "miou")),
            ]
        ),
        "ranking": pa.schema(
            [
                ("query", pa.int32()),
                ("rank", pa.int32()),
                ("image", pa.int32()),
                ("path", pa.string()),
                ("score", pa.float64()),
                ("relevant", pa.bool_()),
                *_BOX,
            ]
        ),
    }
    AREAS: ClassVar[tuple[str, ...]] = ("map_50", "map_100", "map_all", "miou_all")


class DetectFolder(EvaluationFolder):
    """Of `seekloop detect`.

    `recall`: one row per overlap that is asked for. `images`: one row per image.
    """

    TABLES: ClassVar[Mapping[str, pa.Schema]] = {
        "recall": pa.schema(
            [(name, pa.float64()) for name in ("iou", "recall", "recall_small", "recall_medium", "recall_large")]
        ),
        "images": pa.schema(
            [
                ("image", pa.int32()),
                ("path", pa.string()),
                ("regions", pa.int32()),
                ("affine", pa.float64()),
                ("first_iou", pa.float64()),
                ("best_iou", pa.float64()),
            ]
        ),
    }
    AREAS: ClassVar[tuple[str, ...]] = ("corloc", "recall_50", "recall_75", "regions_per_image")

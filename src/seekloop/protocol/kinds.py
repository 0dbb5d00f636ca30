"""Kinds of the runs that are measured against annotations: tables with their columns, curves, figures, main numbers."""

from dataclasses import replace

import pandas as pd

from seekloop.logs.kind import Asked, Curve, Lines, RunKind, columns

SIZES = ("small", "medium", "large")
INDEXED = ("ap_exact", "ap_change", "pick_recall", "certified", "scanned", "shortlist", "search_seconds")
"""Columns that a run through an index has beside the others."""
AP_SIZES = tuple(f"ap_{size}" for size in SIZES)
STOPPED = ("recall", "stopped")
"""Columns that a run with a rule has beside the others."""
BOX = columns("double", ("x0", "y0", "x1", "y1"))
WHERE = {"class_name": "string", "query": "int32", "round": "int32"}

ROUNDS = Curve(
    "rounds",
    "round",
    ("ap", "coverage", "precision", "positives", *AP_SIZES, *INDEXED, *STOPPED),
    over=("query", "class_name"),
    against=("labels", "seconds"),
)
CLASSES = Curve("rounds", "round", ("ap", "coverage"), over=("query",), apart="class_name", prefix="classes/")


def answer_of(relevant: object) -> str:
    """Name the answer in a cell of the column `relevant`."""
    return "unsure" if pd.isna(relevant) else "relevant" if relevant else "irrelevant"  # type: ignore[call-overload]


SEARCHES = RunKind(
    command="retrieve",
    step="round",
    tables={
        "rounds": {
            **WHERE,
            **columns("int32", ("labels", "positives")),
            **columns("double", ("seconds", "ap", "coverage", "precision", *AP_SIZES)),
        },
        "asked": {
            **WHERE,
            **{"image": "int32", "path": "string", "region": "int32", "score": "double", "relevant": "bool"},
            **BOX,
        },
    },
    numbers=("map_auc", "coverage_auc"),
    amounts=(
        "seconds_to_10",
        "machine_seconds",
        "ap_change",
        "shortlist",
        "search_seconds",
        "stop_round",
        "stop_labels",
    ),
    labels={
        "ap": "MAP",
        "labels": "labelled images",
        "seconds": "user's time (s)",
        "map_auc": "area under MAP",
        "coverage_auc": "area under coverage",
        **{f"ap_{size}": f"{size} objects" for size in SIZES},
    },
    printed={"map_auc": "MAP-AUC", "coverage_auc": "coverage-AUC"},
    curve=ROUNDS,
    steps="loop.rounds",
    reached=("map", "ap"),
    compared=("ap", "coverage"),
    paired={"map_auc": "ap", "coverage_auc": "coverage"},
    subject=("collection", "backbone"),
    named=("representation", "recipe.settings.grid", "criterion", "seed"),
    classes=CLASSES,
    lines={
        "curves": Lines(ROUNDS, {"MAP": ("ap",), "coverage": ("coverage",)}, ("round", "labels", "seconds"), band=True),
        "sizes": Lines(ROUNDS, {"MAP": AP_SIZES}, ("round",), counted="sizes"),
    },
    bars=("map_auc", "coverage_auc"),
    asked=Asked(
        right=lambda row: None if pd.isna(row["relevant"]) else bool(row["relevant"]),
        caption=lambda row: f"{row['score']:+.2f}",
        description=lambda row: f"{row['class_name']}: {answer_of(row['relevant'])}, score {row['score']:.3g}",
        query=("class_name", "query"),
        most=1000,
    ),
    queries=True,
)

RESULTS = Curve("results", "cutoff", ("ap", "ap_trapezoid", "precision", "miou"), over=("query",), apart="setup")

INSTANCES = RunKind(
    command="search",
    step="evaluation",
    tables={
        "results": {
            **{"query": "int32", "name": "string", "setup": "string", "cutoff": "string", "positives": "int32"},
            **columns("double", RESULTS.values),
        },
        "ranking": {
            **{"query": "int32", "rank": "int32", "image": "int32", "path": "string"},
            **{"score": "double", "relevant": "bool"},
            **BOX,
        },
    },
    numbers=("map_50", "map_100", "map_all", "miou_all"),
    amounts=("regions_per_image",),
    labels={
        "cutoff": "cut-off of the ranking",
        "ap": "mAP",
        "map_50": "mAP-50",
        "map_100": "mAP-100",
        "map_all": "mAP, whole ranking",
        "miou_all": "mIoU of the returned box",
    },
    curve=RESULTS,
    compared=("ap",),
    subject=("collection", "backbone"),
    named=("regions", "seed"),
)

SCORES = Curve("ranking", "rank", ("score",))

WORDS = RunKind(
    command="words",
    step="rank",
    tables={
        "ranking": {"rank": "int32", "image": "int32", "path": "string", "score": "double", "region": "int32", **BOX}
    },
    numbers=("best_score",),
    labels={"best_score": "highest score"},
    curve=SCORES,
    compared=("score",),
    subject=("collection", "backbone"),
    lines={"scores": Lines(SCORES, {"score": ("score",)}, ("rank",))},
)

FEEDBACKS = Curve(
    "results",
    "size",
    tuple(f"{name}_{k}" for k in (1, 5, 10) for name in ("recall", "first")),
    over=("query",),
    apart="judged",
)

JUDGED = Lines(
    replace(FEEDBACKS, apart=None),
    {f"Recall@{k}": (f"recall_{k}", f"first_{k}") for k in (1, 5, 10)},
    ("size",),
    {name: "after feedback" if name.startswith("recall") else "first ranking" for name in FEEDBACKS.values},
)
"""Curves of one way of counting the judged images."""

FEEDBACK = RunKind(
    command="feedback",
    step="evaluation",
    tables={
        "results": {
            **{"query": "int32", "name": "string", "size": "int32", "judged": "string"},
            **columns("int32", ("likes", "dislikes")),
            **columns("double", FEEDBACKS.values),
        },
        "judged": {"query": "int32", "rank": "int32", "path": "string", "liked": "bool"},
    },
    numbers=("recall_1", "recall_5", "recall_10", "first_1"),
    labels={
        "size": "images judged",
        **{f"recall_{k}": f"Recall@{k}" for k in (1, 5, 10)},
        **{f"first_{k}": f"Recall@{k}, first ranking" for k in (1, 5, 10)},
    },
    curve=FEEDBACKS,
    compared=("recall_1", "first_1"),
    subject=("collection", "backbone"),
    named=("classifier@feedback.classifier", "instances.task", "seed"),
)

RECALL = Curve("recall", "iou", ("recall", *(f"recall_{size}" for size in SIZES)))

REGIONS = RunKind(
    command="detect",
    step="evaluation",
    tables={
        "recall": columns("double", ("iou", *RECALL.values)),
        "images": {
            **{"image": "int32", "path": "string", "regions": "int32"},
            **columns("double", ("affine", "first_iou", "best_iou", "saliency_precision")),
        },
    },
    numbers=("corloc", "recall_50", "recall_75", "regions_per_image", "saliency_precision"),
    amounts=("regions_per_image",),
    labels={
        "iou": "overlap (IoU) asked for",
        "recall": "recall of annotated objects",
        "corloc": "CorLoc",
        "recall_50": "recall at IoU 0.5",
        "recall_75": "recall at IoU 0.75",
        "regions_per_image": "regions per image",
        "saliency_precision": "saliency precision",
    },
    curve=RECALL,
    compared=("recall",),
    subject=("collection", "backbone"),
    named=("regions", "seed"),
    lines={
        "recall": Lines(
            RECALL,
            {"recall of annotated objects": RECALL.values},
            ("iou",),
            {"recall": "all", **{f"recall_{size}": size for size in SIZES}},
        )
    },
)

FOUND = Curve("rounds", "round", ("found", "precision", "yes"), against=("labels", "seconds"))

SESSIONS = RunKind(
    command="replay",
    step="round",
    tables={
        "rounds": {
            **columns("int32", ("round", "asked", "yes")),
            "precision": "double",
            **columns("int32", ("found", "labels")),
            "seconds": "double",
        },
        "asked": {
            **{"round": "int32", "image": "int32", "path": "string", "region": "int32"},
            **{"score": "double", "relevant": "bool"},
            **BOX,
        },
    },
    numbers=("precision",),
    amounts=("found", "labels", "seconds"),
    labels={
        "found": "relevant images found",
        "labels": "labelled images",
        "seconds": "user's time (s)",
        "precision": "precision of the question",
    },
    printed={"precision": "precision of the questions"},
    curve=FOUND,
    compared=("found", "precision"),
    subject=("collection", "backbone"),
    named=("title", "criterion"),
    lines={
        "found": Lines(
            FOUND,
            {"relevant images found": ("found",), "precision of the question": ("precision",)},
            ("round", "labels", "seconds"),
        )
    },
    asked=Asked(
        right=lambda row: None if pd.isna(row["relevant"]) else bool(row["relevant"]),
        caption=lambda row: "" if pd.isna(row["score"]) else f"{row['score']:+.2f}",
        description=lambda row: f"{answer_of(row['relevant'])}, score {row['score']:.3g}",
        most=100,
    ),
)
"""Runs that the sessions of people are."""

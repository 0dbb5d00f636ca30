"""Kind of the runs of active learning: tables with their columns, curves, figures, main numbers."""

from seekloop.logs.kind import Asked, Curve, Lines, Matrix, RunKind, columns

WHERE = {"split": "int32", "cycle": "int32"}
PSEUDO = ("pseudo_share", "pseudo_accuracy", "pseudo_accuracy_weighted")
WEIGHTS = ("weight_mean", "weight_low", "weight_high")
ACCURACY = ("accuracy", "class_accuracy_mean", "class_accuracy_low")

CYCLES = Curve("cycles", "labels", (*ACCURACY, *PSEUDO), counted=("cycle",))
EPOCHS = Curve("epochs", "epoch", ("loss", "lr", *PSEUDO[1:], *WEIGHTS), counted=("cycle",), prefix="epoch/")

LEARNING = RunKind(
    command="learn",
    step="cycle",
    tables={
        "cycles": {
            **WHERE,
            "labels": "int32",
            **columns("double", (*ACCURACY, *PSEUDO)),
            **{"epochs": "int32", "seconds": "double"},
        },
        "epochs": {
            **WHERE,
            **{"stage": "string", "epoch": "int32", "iterations": "int32"},
            **columns("double", ("loss", "lr", *PSEUDO, *WEIGHTS, "seconds")),
        },
        "classes": {
            **WHERE,
            **{"class_name": "string", "accuracy": "double"},
            **columns("int32", ("images", "labels", "asked")),
        },
        "confusion": {**WHERE, **columns("string", ("class_name", "predicted")), "images": "int32"},
        "asked": {
            **WHERE,
            **columns("int32", ("order", "image")),
            **columns("string", ("class_name", "predicted")),
            **columns("double", ("probability", "margin")),
        },
    },
    numbers=("accuracy_auc", "accuracy_final"),
    amounts=("machine_seconds",),
    labels={
        "labels": "labelled images",
        "accuracy_auc": "area under accuracy",
        "accuracy_final": "accuracy at the end",
    },
    curve=CYCLES,
    inner=EPOCHS,
    steps="learning.cycles",
    reached=("accuracy", "accuracy"),
    compared=("accuracy",),
    subject=("dataset", "model"),
    named=("pretraining", "semi", "criterion", "split", "seed"),
    classes=Curve("classes", "cycle", ("accuracy",), apart="class_name", prefix="classes/"),
    lines={
        "accuracy": Lines(
            CYCLES,
            {"accuracy": ACCURACY},
            ("labels",),
            dict(zip(ACCURACY, ("all images", "mean over classes", "worst class"), strict=True)),
        ),
        "epochs": Lines(
            EPOCHS,
            {"loss": ("loss",), "accuracy of pseudo-labels": PSEUDO[1:], "weight of pseudo-labels": WEIGHTS},
            ("epoch",),
            dict(zip((*PSEUDO[1:], *WEIGHTS), ("all alike", "by weight", "mean", "10 %", "90 %"), strict=True)),
        ),
    },
    bars=("accuracy",),
    bar_count="labels",
    matrix={"confusion": Matrix("confusion", "class_name", "predicted", "images")},
    asked=Asked(
        right=lambda row: bool(row["class_name"] == row["predicted"]),
        caption=lambda row: f"{row['predicted']} {row['probability']:.2f}",
        description=lambda row: f"{row['class_name']}, taken for {row['predicted']} at {row['probability']:.2f}",
    ),
)

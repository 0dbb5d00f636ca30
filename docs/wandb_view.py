"""View of a W&B project with the panels of docs/dashboards.md. Needs: pip install wandb-workspaces.

Run: python docs/wandb_view.py <entity> <project>   (saves the view "seekloop" and prints its address)
"""

import sys

from wandb_workspaces import workspaces
from wandb_workspaces.reports.v2 import BarPlot, LinePlot, MediaBrowser, ScatterPlot

AREAS = ("map_auc", "coverage_auc")


def lines(*keys: str, against: str = "round") -> LinePlot:
    """Curves of some keys in one panel, against a key that every round sends."""
    return LinePlot(title=", ".join(keys), x=against, y=list(keys))


def of_classes(value: str) -> LinePlot:
    """Curves of all classes in one panel."""
    return LinePlot(title=f"{value} of each class", x="round", metric_regex=f"classes/.*/{value}")


SECTIONS = {
    "Curves": [lines("ap"), lines("coverage"), lines("precision"), lines("positives")],
    "User's effort": [
        lines(f"against_{axis}/{value}", against=axis) for value in ("ap", "coverage") for axis in ("labels", "seconds")
    ],
    "Queries": [lines(f"queries/{value}_low", value, f"queries/{value}_high") for value in ("ap", "coverage")],
    "Sizes": [lines("ap_small", "ap_medium", "ap_large")],
    "Classes": [of_classes("ap"), of_classes("coverage")],
    "Runs": [*(BarPlot(title=area, metrics=[area]) for area in AREAS), ScatterPlot(x=AREAS[0], y=AREAS[1])],
    "Questions": [MediaBrowser(media_keys=["asked"])],
}


def view(entity: str, project: str) -> workspaces.Workspace:
    """View of the project, not saved yet."""
    sections = [workspaces.Section(name=name, panels=panels, is_open=True) for name, panels in SECTIONS.items()]
    settings = workspaces.RunsetSettings(
        filters="Metric('JobType') == 'retrieve'",
        groupby=[workspaces.Config("choices.representation")],
    )
    return workspaces.Workspace(
        entity=entity, project=project, name="seekloop", sections=sections, runset_settings=settings
    )


if __name__ == "__main__":
    print(view(*sys.argv[1:]).save().url)

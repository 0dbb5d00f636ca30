"""One W&B run per run folder, fed from its Parquet files, so that it can always be told again from the start."""

import contextlib
import logging
import math
import netrc
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd
from PIL import Image, ImageOps

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.lazy import lazily
from seekloop.logs.curves import curve
from seekloop.logs.finished import look_up
from seekloop.logs.kind import Columns, Curve, RunKind
from seekloop.logs.run_folder import RunFolder
from seekloop.logs.wandb_names import IN_ID, IN_PROJECT, LONGEST_NAME, name_of, shortened, tags_of

if TYPE_CHECKING:
    import wandb
else:
    wandb = lazily("wandb")

MODES = ("auto", "online", "offline", "disabled")
NAMES = {"run_id": "the run's id", "name": "the run's name", "group": "experiment_name", "project": "wandb.project"}
REFUSED = {"run_id": IN_ID, "project": IN_PROJECT}
SPREAD = {"low": 0.1, "high": 0.9}  # quantiles over the queries, by their suffixes
THUMBNAIL = 320  # pixels, side of the pictures sent: W&B wants those of one panel to be of one size
LOGIN_SECONDS = 30.0
FINISH_SECONDS = 300.0  # then the rest stays on disk, to be sent with `wandb sync`
GOES_ON = "The run goes on; its Parquet files hold everything."
QUERIES = "queries/"  # stands before the keys of a spread over queries
RECIPE = "recipe"  # repeats the config in another order, and would double every column of a dashboard
NO_KEY = "wandb.mode=online but no API key is configured: run `wandb login` once. This run is logged offline."
KEPT = (
    "W&B has %d steps of this run from before it was run anew, and can overwrite none of them: its curves there stay "
    "the earlier ones. To have them whole, set WANDB_RUN_ID to a new id."
)

_log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
Read = Callable[[int], Image.Image]
RegionBox = Callable[[int, int], Box]


class WandbLog:
    """Tells W&B what a run folder holds.

    W&B is never allowed to end a run: whatever it raises becomes one warning, and the run goes on without it. A run
    that was killed and goes on leaves one whole curve: offline, the earlier files are replaced and all rounds are sent
    again; online, the rounds that the server lacks are sent. W&B can neither overwrite the steps of an id nor give out
    the id of a deleted run again: of a run that is run anew (`force`) it keeps the earlier curve, and a warning says
    so.

    Args:
        folder: of the run. Its name becomes W&B's id, except under a sweep agent, which has its own.
        group: name of the experiment.
        config: the resolved config, whose choices name the run and tag it.
        artifacts: names of the folders of descriptors, regions and weights that the run used.
        mode: auto, online, offline or disabled. auto is online where an API key is configured, else offline.
        project: of W&B.
        entity: user or team of W&B; None for the key's own.
        tags: to find the run by; empty ones are dropped.
        read: gives an image by its position, to show what was asked; None for no pictures.
        region_box: (image, region) to the region's box.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        group: str,
        config: Mapping[str, object],
        artifacts: Sequence[str] = (),
        mode: str,
        project: str | None,
        entity: str | None,
        tags: Sequence[object] | str | None,
        read: Read | None,
        region_box: RegionBox | None,
    ) -> None:
        self.folder, self.read, self.region_box = folder, read, region_box
        self.mode = resolve_mode(mode, os.environ)
        run_id, messages = folder.path.name, list[str]()
        named = names_of(folder.kind, config)
        given = {"run_id": run_id, "name": title(named, run_id), "group": group, "project": project}
        taken = {}
        for what, name in given.items():
            taken[what], changes = name_of(NAMES[what], name, REFUSED.get(what, ""))
            messages += changes
        kept, cut = tags_of(tags)
        kept += [tag for tag in tags_of([f"{key}:{value}" for key, value in named.items()])[0] if tag not in kept]
        if self.mode != "disabled":
            for line in [*messages, *cut]:
                _log.warning(line)
        owner, _ = name_of("wandb.entity", entity)
        self._identity = identity(taken["run_id"] or run_id, taken["project"], owner, os.environ)
        described = {key: value for key, value in config.items() if key != RECIPE}
        self._about = {
            "name": taken["name"],
            "group": taken["group"],
            "job_type": folder.kind.command,
            "tags": kept,
            "config": described | {"run_id": run_id, "artifacts": list(artifacts)},
            "dir": str(folder.path),
        }
        self._run: wandb.Run | None = None
        if self.mode != "disabled":
            self._run = begin(self.mode, {**self._identity, **self._about}, "offline-run-*")
        if self._run is not None:
            with harmless("set up its axes", GOES_ON):
                define_axes(self._run, folder.kind)
        self._next = 0 if self._run is None else self._run.starting_step
        if config.get("force") and self._next:
            _log.warning(KEPT, self._next)

    def __enter__(self) -> "WandbLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(0 if kind is None else 1)

    def catch_up(self) -> None:
        """Send every whole round that has not been sent."""
        if self._run is None:
            return
        with harmless("log a round", GOES_ON):
            try:
                for step, row in enumerate(rows_of(self.folder)):
                    if step >= self._next:
                        self._run.log({**row, **self._pictures(row)}, step=step)
                        self._next = step + 1
            except Exception:  # would fail in every round: W&B is given up
                run, self._run = self._run, None
                with contextlib.suppress(Exception):
                    run.finish(exit_code=1)
                raise

    def finish(self, summary: Mapping[str, object], classes: pd.DataFrame, figures: Sequence[Path]) -> None:
        """Send what is known at the end: summary, table of classes, figures. Nothing if the server has it already."""
        self.catch_up()
        if self._run is None:
            return
        end = len(rows_of(self.folder))
        numbers: dict[str, object] = {key: value for key, value in summary.items() if isinstance(value, (int, float))}
        parts: dict[str, Callable[[], dict[str, object]]] = {
            "the results": lambda: numbers,  # first, and alone: a sweep waits for them
            "the table of classes": lambda: {"classes_table": wandb.Table(dataframe=classes)},
            "the figures": lambda: {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures},
        }
        for what, row in parts.items() if self._next <= end else ():
            with harmless(f"log {what}", "The rest is logged."):
                self._run.log(row(), step=end)
        with harmless("log the summary", GOES_ON):
            self._run.summary.update(dict(summary))

    def close(self, exit_code: int) -> None:
        """Send what is left, with the tables of a finished run as an artifact, and leave; 0 where it went well."""
        if self._run is None:
            return
        if self.folder.complete.exists():
            with harmless("keep the tables", GOES_ON):
                self._run.log_artifact(tables_of(self.folder))
        with harmless("finish", GOES_ON):
            self._run.finish(exit_code=exit_code)
        self._run = None

    def _pictures(self, row: Mapping[str, object]) -> dict[str, object]:
        """Pictures of the images that a step asked about; of several searches the first is followed."""
        asked, step = self.folder.kind.asked, self.folder.kind.step
        of = self.folder.kind.curve
        if self.read is None or asked is None or of is None or of.axis not in row:
            return {}
        table = self.folder.table("asked")
        for name in asked.query:
            table = table[table[name].eq(table[name].iloc[0])] if len(table) else table
        shown = [self._picture(one) for _, one in table[table[step] == row[step]].head(asked.most).iterrows()]
        return {"asked": shown} if shown else {}

    def _picture(self, row: pd.Series) -> "wandb.Image":
        if self.read is None or self.folder.kind.asked is None:
            raise ValueError("there is nothing to read images with")
        canvas, frame = on_square(self.read(int(row["image"])), THUMBNAIL)
        boxes = boxes_of(row, self.region_box, frame) if "region" in row else None
        return wandb.Image(canvas, caption=self.folder.kind.asked.description(row), boxes=boxes, file_type="jpg")


@contextlib.contextmanager
def harmless(what: str, instead: str) -> Iterator[None]:
    """Turn whatever W&B raises into one warning: the numbers are worth more."""
    try:
        yield
    except Exception as error:
        _log.warning("W&B could not %s: %s: %s. %s", what, type(error).__name__, error, instead)


def begin(mode: str, about: Mapping[str, Any], earlier: str) -> "wandb.Run | None":
    """Begin a run of W&B, online where that can be, else offline; None where W&B can do neither.

    Args:
        mode: online or offline.
        about: arguments of `wandb.init`.
        earlier: names of the offline files of earlier attempts, which are replaced, as everything is told again.
    """
    settings: Any = None
    with harmless("set up", GOES_ON):
        settings = quiet_settings()
        wandb.setup(settings=settings)
    if mode == "online" and has_key(os.environ):
        with harmless("reach its server", "This is logged offline; send it later with `wandb sync`."):
            return wandb.init(mode="online", resume="allow", settings=settings, **about)
        wandb.teardown()  # it holds on to the id of the run it could not start
    elif mode == "online":
        _log.warning(NO_KEY)  # W&B would stop and ask for one
    with harmless("start", GOES_ON):
        for folder in (Path(about["dir"]) / "wandb").glob(earlier):
            shutil.rmtree(folder, ignore_errors=True)
        return wandb.init(mode="offline", settings=settings, **about)
    return None


def quiet_settings() -> "wandb.Settings":
    """Settings that leave the terminal alone and never wait for ever."""
    wished: dict[str, Any] = {
        "silent": True,
        "quiet": True,
        "console": "wrap",  # copies the console from now on to W&B's Logs tab
        "save_code": False,
        "reinit": "create_new",
        "init_timeout": LOGIN_SECONDS,
        "finish_timeout": FINISH_SECONDS,
    }
    return wandb.Settings(**{key: value for key, value in wished.items() if key in wandb.Settings.model_fields})


def resolve_mode(mode: str, environ: Mapping[str, str]) -> str:
    """Resolve `wandb.mode`: `auto` follows WANDB_MODE, else is online where an API key is configured.

    Raises:
        ConfigError: if the mode is unknown.
    """
    if mode not in MODES:
        raise ConfigError("mode", mode, "it is unknown", f"Valid: {', '.join(MODES)}.", WandbLog)
    if mode != "auto":
        return mode
    wished = environ.get("WANDB_MODE", "")
    if wished in MODES[1:]:
        return wished
    return "online" if has_key(environ) else "offline"


def has_key(environ: Mapping[str, str]) -> bool:
    """Look for an API key in the environment and in netrc files."""
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    named = environ.get("NETRC")
    files = [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]
    for file in files:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            if netrc.netrc(file).hosts.get(host):
                return True
    return False


def identity(run_id: str, project: str | None, entity: str | None, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Identity of the W&B run to write to: our own; nothing where a sweep agent has opened one already."""
    if environ.get("WANDB_SWEEP_ID"):
        return {}
    own = {"project": project, "entity": entity}
    return own if environ.get("WANDB_RUN_ID") else {**own, "id": run_id}


def names_of(kind: RunKind, config: Mapping[str, object]) -> dict[str, object]:
    """Values of a config that tell people which run it is, by the last word of their keys."""
    found = {key.rpartition(".")[2]: look_up(config, key) for key in (*kind.subject, *kind.named)}
    return {key: value for key, value in found.items() if value is not None}


def title(named: Mapping[str, object], run_id: str) -> str:
    """Title of a run for people: its names, and the beginning of its hash.

    Example:
        >>> title({"backbone": "tiny", "representation": "lo_all", "semi": "none", "seed": 3}, "all-none-s3-2afc4e9d45")
        'tiny lo_all seed 3 #2afc'
    """
    words = [f"{key} {value}" if isinstance(value, int) else str(value) for key, value in named.items()]
    shown = " ".join(word for word in words if word != "none")
    return f"{shown} #{run_id.rpartition('-')[2][:4]}" if shown else run_id


def tables_of(folder: RunFolder) -> "wandb.Artifact":
    """Config, summary and tables of a finished run; the files stay where they are."""
    name = re.sub(r"[^\w.-]", "_", shortened(folder.path.name, LONGEST_NAME), flags=re.ASCII)
    artifact = wandb.Artifact(name, type="tables")
    for path in [*sorted(folder.path.glob("*.parquet")), folder.path / "summary.json", folder.path / "config.yaml"]:
        artifact.add_file(str(path), policy="immutable")
    return artifact


def define_axes(run: "wandb.Run", kind: RunKind) -> None:
    """Tell W&B what each curve is drawn against. Of a curve along words it counts the steps itself."""
    of = kind.curve
    if of is None or kind.tables[of.table][of.axis] == "string":
        return
    run.define_metric(of.axis, hidden=True)
    for axis in of.against:
        run.define_metric(axis, step_metric=of.axis)
    for name in of.values:
        run.define_metric(name, step_metric=of.axis)
        for axis in of.against:
            run.define_metric(f"against_{axis}/{name}", step_metric=axis, summary="none")
    if kind.classes is not None:
        for prefix in (kind.classes.prefix, QUERIES):
            run.define_metric(f"{prefix}*", step_metric=kind.classes.axis)


def rows_of(folder: RunFolder) -> list[dict[str, object]]:
    """All that there is to tell W&B, a row for each of its steps: every step after what is followed within it."""
    kind = folder.kind
    if kind.curve is None:
        return []
    steps = curve_rows(kind.curve, folder.table(kind.curve.table), kind.tables[kind.curve.table])
    if kind.classes is not None:
        table = folder.table(kind.classes.table)
        of_classes = curve_rows(kind.classes, table, kind.tables[kind.classes.table])
        more, spread = {row[kind.step]: row for row in of_classes}, spreads(kind.classes, table)
        steps = [more.get(row[kind.step], {}) | spread.get(row[kind.step], {}) | row for row in steps]
    if kind.inner is None:
        return steps
    columns = kind.tables[kind.inner.table]
    inner = curve_rows(kind.inner, folder.table(kind.inner.table), columns)
    rows = []
    for one in steps:
        rows += [row for row in inner if row[kind.step] == one[kind.step]] + [one]
    under_way = folder.under_way()
    return rows + (curve_rows(kind.inner, under_way, columns) if len(under_way) else [])


def curve_rows(of: Curve, table: pd.DataFrame, columns: Columns) -> list[dict[str, object]]:
    """The values of a curve under W&B's keys, a row for each place on its axis; empty values are left out."""
    means = curve(of, table)
    counted = {name: table[name].tolist() for name in of.counted}
    rows: dict[object, dict[str, object]] = {}
    for number, (at, values) in enumerate(means.iterrows()):
        apart, axis = at if isinstance(at, tuple) else ("", at)
        position = number if counted else axis
        row = rows.setdefault(position, {of.axis: CASTS[columns[of.axis]](axis)})
        row |= {name: int(cells[number]) for name, cells in counted.items()}
        known = {str(name): float(value) for name, value in values.items() if not math.isnan(value)}
        prefix = of.prefix + (f"{apart}/" if of.apart else "")
        row |= {prefix + name: value for name, value in known.items()}
        for against in of.against:
            if against in known:
                row |= {f"against_{against}/{name}": known[name] for name in of.values if name in known}
    return list(rows.values())


def spreads(of: Curve, table: pd.DataFrame) -> dict[object, dict[str, object]]:
    """Quantiles of a curve's values over all queries, by their place on its axis; nothing where none are averaged."""
    if "query" not in of.over:
        return {}
    rows: dict[object, dict[str, object]] = {at: {} for at in table[of.axis]}
    for suffix, share in SPREAD.items():
        for at, values in table.groupby(of.axis)[list(of.values)].quantile(share).iterrows():
            rows[at] |= {f"{QUERIES}{name}_{suffix}": float(value) for name, value in values.dropna().items()}
    return rows


CASTS: Mapping[str, Callable[[Any], object]] = {"int32": int, "double": float, "string": str}
LABELS = ["irrelevant", "relevant", "unsure", "best region"]


def on_square(image: Image.Image, side: int) -> tuple[Image.Image, Box]:
    """The image, whole, in the middle of a white square; and where on the square it lies, in fractions."""
    fitted = ImageOps.contain(image.convert("RGB"), (side, side))
    left, top = (side - fitted.width) // 2, (side - fitted.height) // 2
    canvas = Image.new("RGB", (side, side), "white")
    canvas.paste(fitted, (left, top))
    return canvas, (left / side, top / side, (left + fitted.width) / side, (top + fitted.height) / side)


def within(box: Box, frame: Box) -> Box:
    """A box given in fractions of `frame`, in the fractions that `frame` itself is given in.

    Example:
        >>> within((0.5, 0.0, 1.0, 1.0), (0.0, 0.25, 1.0, 0.75))
        (0.5, 0.25, 1.0, 0.75)
    """
    left, top, right, bottom = frame
    wide, high = right - left, bottom - top
    x0, y0, x1, y1 = box
    return left + wide * x0, top + high * y0, left + wide * x1, top + high * y1


def boxes_of(row: pd.Series, region_box: RegionBox | None, frame: Box) -> dict[str, dict[str, Any]] | None:
    """The user's box and the region that scored highest, as W&B draws them over a picture.

    Args:
        row: of the table of questions.
        region_box: (image, region) to the region's box.
        frame: where in the picture the image lies.
    """
    label = f"{row.get('class_name', '')} {row['score']:.3g}".strip()
    drawn = []
    if not pd.isna(row["x0"]):
        x0, y0, x1, y1 = (float(row[side]) for side in ("x0", "y0", "x1", "y1"))
        answer = "unsure" if pd.isna(row["relevant"]) else "relevant" if row["relevant"] else "irrelevant"
        drawn.append((answer, (x0, y0, x1, y1)))
    if region_box is not None and row["region"] >= 0:
        drawn.append(("best region", region_box(int(row["image"]), int(row["region"]))))
    data = [
        {
            "position": dict(zip(("minX", "minY", "maxX", "maxY"), within(box, frame), strict=True)),
            "class_id": LABELS.index(kind),
            "box_caption": label,
            "scores": {"score": float(row["score"])},
        }
        for kind, box in drawn
    ]
    return {"asked": {"box_data": data, "class_labels": dict(enumerate(LABELS))}} if data else None

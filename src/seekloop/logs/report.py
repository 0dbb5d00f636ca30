"""Reports of finished runs: tables over their seeds, beside the paper's numbers."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from seekloop.artifacts.files import write_bytes
from seekloop.logs import baseline, comparison, drawing, figures
from seekloop.logs.copies import sorted_out
from seekloop.logs.finished import RECIPE, UPPER_BOUND, check_keys, differing_keys, finished_runs, value_of
from seekloop.logs.intervals import interval
from seekloop.logs.kind import Kinds, RunKind
from seekloop.logs.names import FAMILIES, paper_name
from seekloop.logs.run_folder import RunFolder
from seekloop.logs.tables import cell, print_table

FIGURES, FORMATS = ("curves", "bars"), ("png", "pdf")
FILES = 4 + len(FIGURES) * len(FORMATS)
LEFT_OUT = "left_out"
LOST = ("objects_lost", "files_not_taken")
"""Counts of a summary's `left_out` that are losses: what is left out by rule, and notes, are none."""


@dataclass(frozen=True)
class Report:
    """Tables over finished runs.

    Attributes:
        table: one row per group: the keys, `runs`, for each metric its `_mean`, `_std`, `_low`, `_high`, the paper's,
            and what compares the row with GO.
        keys: what the rows are grouped by.
        averaged: keys other than the seed that differ within a group.
        groups: the runs of each row, by its label.
        differences: pairs of settings over the same queries.
        copies: runs that were passed over, each with the one that counts in its place.
        damaged: folders that were passed over because files are missing, with the reason.
        name: of its files, without what tells them apart.
        unwritten: files of the report that could not be written, with the reason.
    """

    table: pd.DataFrame
    keys: tuple[str, ...]
    averaged: tuple[str, ...]
    groups: Mapping[str, Sequence[RunFolder]]
    differences: pd.DataFrame
    copies: Sequence[tuple[RunFolder, RunFolder]] = ()
    damaged: Mapping[Path, str] = field(default_factory=dict)
    name: str = "report"
    unwritten: Mapping[str, str] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Name of the Markdown file."""
        return f"{self.name}.md"

    @property
    def pictures(self) -> dict[str, str]:
        """Names of the PNG files, by their figures'."""
        return {figure: f"{self.name}_{figure}.png" for figure in FIGURES}

    @property
    def runs(self) -> int:
        """Number of runs in all rows."""
        return sum(len(members) for members in self.groups.values())

    @property
    def kind(self) -> RunKind:
        """Kind of the runs."""
        return next(iter(self.groups.values()))[0].kind

    @property
    def curves(self) -> dict[str, list[pd.DataFrame]]:
        """The first tables (of rounds, cycles) of each row's runs, by its label."""
        name = next(iter(self.kind.tables))
        return {label: [run.table(name) for run in members] for label, members in self.groups.items()}


def report(folder: Path, by: Sequence[str] | None, compare: Sequence[str], kinds: Kinds) -> Report:
    """Group the finished runs below `folder` by config keys; mean, deviation and confidence interval over the rest.

    Writes `report.md`, `report.csv`, `report_differences.csv`, `report.tex`, and `report_curves` and `report_bars` as
    PNG and PDF into `folder`, and prints the tables. Keys and comparisons asked for stand in the files' names
    (`report_local.md`).

    Args:
        folder: where to look, and where the report goes.
        by: config keys; a group's choice (`local`) before a key of the config (`loop.budget`). None or empty: the keys
            that tell the runs' experiments apart.
        compare: settings to compare over the same queries, such as `local:all,none`; empty: every row with the best.
        kinds: of the runs, by their commands.

    Raises:
        ValueError: no run is done, a key is in no run's config, or two settings cannot be compared.
    """
    runs, damaged = finished_runs(folder, kinds)
    if not runs:
        broken = "".join(f". {path}: {why}" for path, why in damaged.items())
        raise ValueError(f"no finished run below {folder}. `seekloop status {folder}` says what is there{broken}")
    result = tabulate(runs, tuple(by) if by else differing_keys([run.config for run in runs]), compare)
    result = replace(result, damaged=damaged, name=name_of(by or (), compare))
    result = replace(result, unwritten=_write(result, folder))
    _show(result, folder)
    return result


def _write(result: Report, folder: Path) -> dict[str, str]:
    """Write the report's files; a file that cannot be written or drawn comes back with the reason."""
    texts = {
        f"{result.name}.csv": result.table.to_csv(index=False),
        f"{result.name}_differences.csv": result.differences.to_csv(index=False),
        result.page: markdown(result, folder),
        f"{result.name}.tex": latex(result),
    }
    drawn: dict[str, Callable[[], Figure]] = {
        "curves": cache(lambda: figures.compare(result.kind, result.curves)),
        "bars": cache(lambda: figures.bars_of_groups(result.kind, result.table, list(result.groups))),
    }
    unwritten = {}

    def attempt(name: str, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception as error:  # the table is worth more than its files
            if not isinstance(error, OSError) and name in texts:
                raise
            unwritten[name] = drawing.reason(error)

    for name, text in texts.items():
        attempt(name, partial(write_bytes, folder / name, text.encode(), "folder"))
    for figure, draw in drawn.items():
        for ending in FORMATS:
            name = f"{result.name}_{figure}.{ending}"
            attempt(name, partial(_draw, draw, folder / name))
    return unwritten


def _draw(draw: Callable[[], Figure], path: Path) -> None:
    drawing.save(draw(), path, "folder")


def _show(result: Report, folder: Path) -> None:
    """Print the areas, which fit a terminal; the page has the rest. All numbers, where there is no page."""
    page, table = result.page, _readable(result)
    hidden = _besides(result) if page not in result.unwritten else []
    print_table(table.drop(columns=hidden), f"{result.runs} finished runs below {folder}")
    if len(result.differences):
        title = "The same queries under two settings: the first minus the second"
        print_table(comparison.readable(result.differences), title)
    for line in passed_over(result, folder):
        print(line)
    rest = "" if page in result.unwritten else f"; {', '.join([*hidden, 'notes'])}: {folder / page}"
    print(f"mean ± deviation [95 % interval]{rest}")
    pictures = ", ".join(str(folder / name) for name in result.pictures.values() if name not in result.unwritten)
    print(f"figures: {pictures}{'; ' if pictures else ''}of each run: {folder}/**/figures/")
    unwritten = result.unwritten
    if unwritten:
        reasons = set(unwritten.values())
        named = ", ".join(f"{name} ({why})" for name, why in unwritten.items())
        if result.page in unwritten and len(unwritten) == FILES and len(reasons) == 1:
            print(f"nothing was written to {folder}: {reasons.pop()}. The table above is all there is")
        else:
            print(f"not written to {folder}: {named}")
    earlier = [name for name in unwritten if (folder / name).is_file()]
    if earlier:
        print(f"of an earlier report, not of this one: {', '.join(earlier)}")


def passed_over(result: Report, folder: Path) -> list[str]:
    """The folders that do not count, a line each, with the reason."""

    def name(path: Path) -> str:
        return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)

    lines = []
    for copy, original in result.copies:
        there, here = _metrics(copy.summary()), _metrics(original.summary())
        differing = [number for number in result.kind.numbers if there.get(number) != here.get(number)]
        numbers = [f"{one} {cell(there.get(one))} there, {cell(here.get(one))} here" for one in differing]
        but = f", although their numbers differ ({'; '.join(numbers)}): remove the one that is wrong" if numbers else ""
        counts = f"is the same run as {name(original.path)}, which counts"
        lines.append(f"passed over: {name(copy.path)} {counts}{but}")
    return lines + [f"passed over: {name(path)}: {why}" for path, why in result.damaged.items()]


def tabulate(runs: Sequence[RunFolder], by: tuple[str, ...], compare: Sequence[str] = ()) -> Report:
    """The report's tables, without writing anything. A run that several folders hold counts once in a row."""
    check_keys(runs, by, "by")
    check_kinds(runs, compare)
    told_apart = [*by, *(key for words in compare for key in comparison.keys_of(words))]
    runs, copies = sorted_out(runs, lambda run: tuple(value_of(run, key, runs) for key in told_apart))
    grouped: dict[tuple[str, ...], list[RunFolder]] = {}
    for run in runs:
        grouped.setdefault(tuple(value_of(run, key, runs) for key in by), []).append(run)
    ordered = dict(sorted(grouped.items(), key=lambda item: (_family(by, item[1]), *map(_natural, item[0]))))
    rows = [{**dict(zip(by, values, strict=True)), **_statistics(members)} for values, members in ordered.items()]
    rows = [{**row, **more} for row, more in zip(rows, baseline.against_global(by, ordered, rows), strict=True)]
    groups = dict(zip(_labels(by, ordered), ordered.values(), strict=True))
    configs = [[run.config for run in members] for members in groups.values()]
    recorded = [[config for config in row if RECIPE in config] for row in configs]  # told apart finer than with others
    averaged = {key for row in (*configs, *recorded) for key in differing_keys(row)}
    paired = runs[0].kind.paired
    differences = (
        comparison.asked_for(runs, compare)
        if compare
        else comparison.against_the_best(groups if paired else {}, paired)
    )
    table = pd.DataFrame(rows).astype({LEFT_OUT: "Int64"})
    if not (table[LEFT_OUT].fillna(0) > 0).any():
        table = table.drop(columns=LEFT_OUT)
    table = table.dropna(axis="columns", how="all")
    return Report(table, by, tuple(sorted(averaged - set(by))), groups, differences, copies)


def check_kinds(runs: Sequence[RunFolder], compare: Sequence[str]) -> None:
    """Refuse what has no meaning: runs of unknown or different kinds in one table, queries of runs that have none.

    Raises:
        ValueError: saying what to do.
    """
    kinds = {run.kind.command: run.kind for run in runs}
    if unknown := sorted(command for command, kind in kinds.items() if not kind.tables):
        named = ", ".join(f"{run.path} of `{run.kind.command}`" for run in runs if run.kind.command in unknown)
        raise ValueError(f"runs of unknown commands have no report: {named}. Report the folders of other runs")
    if len(kinds) > 1:
        commands = " and of ".join(f"`{command}`" for command in sorted(kinds))
        raise ValueError(f"runs of {commands} do not go into one table: report their folders apart")
    ((command, kind),) = kinds.items()
    if compare and not kind.paired:
        raise ValueError(f"compare={compare[0]!r} compares queries, and runs of `{command}` have none")


def markdown(result: Report, folder: Path = Path()) -> str:
    """The report as a Markdown page; folders are named from `folder` on."""
    tables = [_readable(result), *([comparison.readable(result.differences)] if len(result.differences) else [])]
    first, *second = [table.to_markdown(index=False, disable_numparse=True) for table in tables]
    lines = [f"# Report over {result.runs} runs", "", first, "", *_notes(result), ""]
    lines += [f"- {line}" for line in passed_over(result, folder)]
    lines += [""] if result.copies or result.damaged else []
    if second:
        lines += ["## The same queries under two settings", "", *second, "", PAIRED, ""]
    elif len(result.groups) > 1 and result.kind.paired:
        lines += ["No two rows share a query, so none are compared.", ""]
    return "\n".join([*lines, *(f"![{figure}]({name})\n" for figure, name in result.pictures.items())])


def latex(result: Report) -> str:
    """The main numbers and the differences as LaTeX tables, for a document that uses booktabs."""
    main = _readable(result).drop(columns=_besides(result))
    tables = {"Mean, standard deviation and 95 \\% interval of the mean over runs.": main}
    if len(result.differences):
        differences = comparison.readable(result.differences)
        tables["Differences over the same queries, with 95 \\% intervals."] = differences
    made = [table.to_latex(index=False, escape=True, caption=caption) for caption, table in tables.items()]
    return "\n".join(["% \\usepackage{booktabs}", *made])


def name_of(by: Sequence[str], compare: Sequence[str]) -> str:
    """Name of a report's files: another for other keys and comparisons, so that no report overwrites another.

    Example:
        >>> name_of([], []), name_of(["local", "loop.budget"], ["local:all,none"])
        ('report', 'report_local_loop.budget_local-all-none')
    """
    words = "_".join(re.sub(r"[^\w.]+", "-", word).strip("-") for word in (*by, *compare))
    return drawing.file_names("report_", [words], "_differences.csv")[0] if words else "report"


PAIRED = (
    "Setting minus the one it is compared with, over the queries that both have (same seed, class, first image and "
    "negatives): mean difference [95 % interval], and the two-sided p of no difference. Bootstrap, 10,000 resamples of "
    "the queries within each class; the classes are fixed. *p (Holm)* is corrected for the number of comparisons in "
    "the table, of all its areas together. All are empty where a class has a single query."
)


def _notes(result: Report) -> list[str]:
    """Explanations of the numbers of the table."""
    over = "the runs of a row (its seeds)"
    if result.averaged:
        keys = ", ".join(f"`{key}`" for key in result.averaged)
        over = f"the runs of a row, which differ not only in their seeds. They also differ in: {keys}"
    lines = [
        f"Mean ± standard deviation [95 % interval of the mean, by Student's t; of shares on the scale of log-odds, so "
        f"that it stays between 0 and 1] over {over}. A single run has neither."
    ]
    if result.kind.steps:
        lines[0] += f" AUC: area under the curve over {result.kind.step}s / {result.kind.step}s."
    if LEFT_OUT in result.table:
        lines += [
            "",
            "*left out*: annotated objects lost and files not taken, of the run of a row that has most of both.",
        ]
    if any(str(name).endswith("_reached") for name in result.table):
        lines += [
            "",
            "*gain*: relative to GO, in %; *sum of gains*: of all areas. *round of GO's last ...*: the first round in "
            "which the row's mean is at least GO's in its last round.",
        ]
    if "paper_setup" in result.table:
        lines += [
            "",
            "Columns *in the paper* are the paper's own measurements, with what *the paper used* says. They are "
            "replicated only where a row's images, their number and the network are the same.",
        ]
    return lines


def _readable(result: Report) -> pd.DataFrame:
    """The table with `mean ± std [interval]` in one cell, and the paper's number, named as such, beside ours."""
    table = result.table
    ours = [name for name in (*result.kind.subject, "images") if name in table and name not in result.keys]
    shown = table[[*result.keys, *ours, "runs"]].map(cell)
    if "representation" in shown:
        shown["representation"] = shown["representation"].map(paper_name)
    if LEFT_OUT in table:
        shown["left out"] = table[LEFT_OUT].map(cell)
    nothing = pd.Series(math.nan, index=table.index)
    for metric in [name.removesuffix("_mean") for name in table.columns if name.endswith("_mean")]:
        columns = [table.get(f"{metric}_{part}", nothing) for part in ("mean", "std", "low", "high")]
        shown[metric] = [_with_interval(*cells) for cells in zip(*columns, strict=True)]
        if f"paper_{metric}" in table:
            shown[f"{metric} in the paper"] = baseline.with_gains(table, f"paper_{metric}")
    if "paper_setup" in table:
        shown["the paper used"] = table["paper_setup"].map(cell)
    return pd.concat([shown, baseline.readable(table, result.kind)], axis=1)


def _besides(result: Report) -> list[str]:
    """Columns of the readable table with other numbers than the main ones."""
    means = [name.removesuffix("_mean") for name in result.table.columns if name.endswith("_mean")]
    return [name for name in means if name not in result.kind.numbers]


def _labels(by: Sequence[str], groups: Mapping[tuple[str, ...], Sequence[RunFolder]]) -> list[str]:
    """Names of the rows: the paper's of a representation, where the keys tell it, then the other keys' values."""
    labels = []
    for values, runs in groups.items():
        names = {paper_name(value_of(run, "representation", runs)) for run in runs}
        if not set(by).isdisjoint(baseline.PAIR) and len(names) == 1 and names != {"-"}:
            values = (names.pop(), *(value for key, value in zip(by, values, strict=True) if key not in baseline.PAIR))
        labels.append(" · ".join(values) or "all runs")
    return labels if len(set(labels)) == len(labels) else [" · ".join(values) for values in groups]


def _with_interval(mean: float, deviation: float, low: float, high: float) -> str:
    if pd.isna(deviation) or pd.isna(low):
        return cell(mean)
    return f"{mean:.3f} ± {deviation:.3f} [{low:.3f}, {high:.3f}]"


def _statistics(runs: Sequence[RunFolder]) -> dict[str, object]:
    """A row of the table."""
    row: dict[str, object] = {"runs": len(runs), LEFT_OUT: most_left_out(runs)}
    for name, column in pd.DataFrame([_metrics(run.summary()) for run in runs]).items():
        values = column.dropna()
        share = name not in runs[0].kind.amounts and values.between(0, 1).all()
        low, high = interval(values, share=bool(share))
        row |= {f"{name}_mean": values.mean(), f"{name}_std": values.std(ddof=1)}
        row |= {f"{name}_low": low, f"{name}_high": high}
    return {**row, **_paper(runs)}


def most_left_out(runs: Sequence[RunFolder]) -> int | None:
    """Objects lost and files not taken in the run that has most; None where no run has counted them."""
    noted = [run.summary().get(LEFT_OUT) for run in runs]
    sums = [sum(int(counts.get(name) or 0) for name in LOST) for counts in noted if isinstance(counts, Mapping)]
    return max(sums, default=None)


def _metrics(summary: Mapping[str, object]) -> dict[str, float]:
    """Measurements are the summary's fractional numbers; whole numbers count something."""
    return {key: value for key, value in summary.items() if isinstance(value, float) and math.isfinite(value)}


def _paper(runs: Sequence[RunFolder]) -> dict[str, object]:
    """The paper's numbers where all runs of the group name the same ones, what they come from, and what ours do."""
    notes = [run.config.get("paper") for run in runs]
    named = [note for note in notes if isinstance(note, Mapping)]
    if len(named) < len(notes):
        return {}
    same = {key: value for key, value in named[0].items() if all(note.get(key) == value for note in named)}
    setups = {str(run.config.get("paper_setup") or "a setup not named here") for run in runs}
    published = {f"paper_{key}": str(value) if key == "table" else value for key, value in same.items()}
    where = f"Table {same['table']}: " if "table" in same else ""
    subject = runs[0].kind.subject
    ours = {key: ", ".join(sorted({value_of(run, key, runs) for run in runs})) for key in subject}
    images = ", ".join(sorted({str(run.summary().get("images", "?")) for run in runs}))
    return {**published, "paper_setup": where + " or ".join(sorted(setups)), **ours, "images": images}


def _family(by: Sequence[str], runs: Sequence[RunFolder]) -> int:
    """Number of a row's representation in the paper's order, the upper bound last; the same where keys tell none."""
    families = {value_of(run, "representation", runs).split("_")[0] for run in runs}
    if set(by).isdisjoint(baseline.PAIR) or len(families) > 1:
        return 0
    (family,) = families
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES) + (family == UPPER_BOUND)


def _natural(value: str) -> tuple[bool, float, str]:
    """Numbers by size before words by letter."""
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, 0.0, value)

"""Tables on the terminal."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

WIDE = 400  # characters in a line of a file


def print_table(frame: pd.DataFrame, title: str = "") -> None:
    """Print a table to the terminal, words over several lines where it is narrow; a file gets the width it needs."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in frame.columns:
        number = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(str(name), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in frame.itertuples(index=False):
        table.add_row(*(cell(value) for value in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(table)


def cell(value: object) -> str:
    """Three digits for a fraction, nothing for an empty cell."""
    if pd.isna(value):  # type: ignore[call-overload]
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)

"""Tables as Parquet files."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from seekloop.logs.kind import Columns


def schema_of(columns: Columns) -> pa.Schema:
    """Arrow's schema of a table's columns."""
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def parquet_bytes(frame: pd.DataFrame, columns: Columns) -> bytes:
    """A table as Parquet, the same bytes for the same content.

    The columns that a table must have come first, with their types; others follow with the types that they have.

    Raises:
        ValueError: a column is missing.
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}; it has {list(frame.columns)}")
    frame = frame[[*columns, *(name for name in frame.columns if name not in columns)]]
    inferred = pa.Schema.from_pandas(frame, preserve_index=False).remove_metadata()
    known = schema_of(columns)
    whole = pa.schema([known.field(one.name) if one.name in columns else one for one in inferred])
    table = pa.Table.from_pandas(frame, schema=whole, preserve_index=False).replace_schema_metadata(None)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read_parquet(paths: Sequence[Path], columns: Columns) -> pd.DataFrame:
    """The rows of these files, one after the other; truth values and words as pandas' nullable types."""
    tables = [pq.read_table(path) for path in paths] or [schema_of(columns).empty_table()]
    table = pa.concat_tables(tables, promote_options="permissive")
    return table.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}.get)

"""Columns of the tables, and Parquet files of them."""

import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_WHERE = [("class_name", pa.string()), ("query", pa.int32()), ("round", pa.int32())]

ROUNDS = pa.schema(
    [
        *_WHERE,
        ("labels", pa.int32()),
        ("positives", pa.int32()),
        ("seconds", pa.float64()),
        ("ap", pa.float64()),
        ("coverage", pa.float64()),
        ("precision", pa.float64()),
        ("ap_small", pa.float64()),
        ("ap_medium", pa.float64()),
        ("ap_large", pa.float64()),
    ]
)

ASKED = pa.schema(
    [
        *_WHERE,
        ("image", pa.int32()),
        ("path", pa.string()),
        ("region", pa.int32()),
        ("score", pa.float64()),
        ("relevant", pa.bool_()),
        *((side, pa.float64()) for side in ("x0", "y0", "x1", "y1")),
    ]
)


def parquet_bytes(frame: pd.DataFrame, schema: pa.Schema | None) -> bytes:
    """A table as Parquet, the same bytes for the same content.

    Columns of `schema` come first, with its types; further columns follow with the types they have.

    Raises:
        ValueError: a column of `schema` is missing.
    """
    known = [] if schema is None else schema.names
    missing = [name for name in known if name not in frame.columns]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}; it has {list(frame.columns)}")
    frame = frame[[*known, *(name for name in frame.columns if name not in known)]]
    inferred = pa.Schema.from_pandas(frame, preserve_index=False).remove_metadata()
    whole = pa.schema(
        [field if schema is None or field.name not in known else schema.field(field.name) for field in inferred]
    )
    table = pa.Table.from_pandas(frame, schema=whole, preserve_index=False).replace_schema_metadata(None)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read_parquet(paths: Sequence[Path], schema: pa.Schema | None) -> pd.DataFrame:
    """The rows of these files, one after the other; `relevant` as pandas' nullable boolean."""
    tables = [pq.read_table(path) for path in paths]
    if not tables:
        tables = [(schema or pa.schema([])).empty_table()]
    table = pa.concat_tables(tables, promote_options="permissive")
    return table.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}.get)

"""Runs, kept, shown and compared: folders, Parquet, figures, W&B, reports."""

"""Trainers, precision, progress and silence of Lightning, shared by extraction and training."""

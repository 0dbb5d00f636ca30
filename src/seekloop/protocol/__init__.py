"""Experiments: queries, simulated users, measures of every round, kinds of runs."""

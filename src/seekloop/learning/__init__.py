"""Deep active learning: how training and asking for labels alternate, and on which pseudo-labels an epoch trains."""

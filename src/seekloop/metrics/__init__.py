"""How good a ranking, a set of positives, or a whole curve is. Pure functions of tensors."""

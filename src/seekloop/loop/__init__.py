"""The interactive loop: learn, fit, score, propose; sessions of a person."""

"""Scores and candidates in, the next images to ask about out. No criterion sees an annotation."""

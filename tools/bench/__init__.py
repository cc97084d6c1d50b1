"""Measurements of the link against the least that could do the job, in one run, as ratios."""

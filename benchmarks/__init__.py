"""Timings, as ratios within one run on one machine. Each file measures one thing."""

"""Algorithms: each makes the schedule of a collective."""

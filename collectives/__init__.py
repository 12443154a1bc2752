"""Collectives as explicit schedules that are executed and timed."""

"""Hypothesis without deadlines: this machine may be busy, and simulated time is not host time."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

"""Simulated time is in whole picoseconds: what a longer unit is."""

PS_PER_NS = 1_000
PS_PER_US = 1_000_000
PS_PER_S = 1_000_000_000_000

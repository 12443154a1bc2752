"""The bits of the chip's number formats: conversions, roundings, tiles."""

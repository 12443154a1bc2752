"""Compiled hot loops of a chip, with numpy fallbacks."""

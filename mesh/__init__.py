"""Opening a mesh: one Ray actor a chip, placements and programs."""

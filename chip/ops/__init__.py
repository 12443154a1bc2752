"""The ops of a chip: shape rule, values and cost of each in one place."""

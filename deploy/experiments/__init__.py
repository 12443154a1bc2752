"""The scaling lab: a plain function over many values, its results and their pictures."""

"""Tensor-parallel language models over a mesh."""

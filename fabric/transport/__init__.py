"""Carrying frames between chips: shared memory on a host, ZeroMQ between hosts."""

"""A chip's memory: banks, where a tensor's pages lie in them, and who holds what.

- config: what a caller asks for (`MemoryConfig`: buffer, layout, shard).
- footprint: what a tensor takes of every bank, and the bank and offset of each of its pages.
- free_list: addresses of one bank; all banks of a buffer are in lock step, so one list serves all.
- banks: the DRAM or the L1 of a chip: allocations, holders, peak.
- report: all of it as a value.
- written: checked mode, where a read of what nobody wrote is an error.
- circular: what ops' circular buffers take of L1, and their clash with tensors.
"""

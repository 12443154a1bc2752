"""What chips did, in the formats of others' tools: Perfetto, tt-perf-report, Chakra.

Each writer takes the records of the chips (`MeshDevice.records()`, or planned ones) and a path.
Every time in a report is simulated.
"""

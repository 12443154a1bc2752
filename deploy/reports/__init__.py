"""What chips did, in the formats of others' tools: Perfetto, tt-perf-report, Chakra.

Each writer takes the records of the chips (`MeshDevice.records()`, or planned ones) and a path.
Every time in a report is simulated.
"""

from .chakra import write_chakra
from .options import add_report_options, wants_reports, write_reports, write_trace
from .perf_csv import write_perf_csv
from .planned import planned_chips

__all__ = [
    "add_report_options",
    "planned_chips",
    "wants_reports",
    "write_chakra",
    "write_perf_csv",
    "write_reports",
    "write_trace",
]

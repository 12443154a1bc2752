"""`meshtwin generate` with reports: they hold every op, and the time that it says it took."""

import csv
import json
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main

from ...models.tiny import tiny_config, write_tiny
from ...models.tiny_tokenizer import byte_level_tokenizer, write_tokenizer


@pytest.mark.ray
def test_generate_writes_reports_of_all_its_ops(
    ray_session: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = byte_level_tokenizer()
    model = write_tiny(tmp_path / "model", tiny_config(vocab_size=tokenizer.get_vocab_size()))
    write_tokenizer(model, tokenizer)
    trace, table, folder = tmp_path / "run.json", tmp_path / "ops.csv", tmp_path / "et"
    argv = ["generate", "the cat", "--model", str(model), "--box", "p300", "--max-tokens", "3"]
    argv += ["--dtype", "float32", "--json"]
    argv += ["--trace", str(trace), "--perf-csv", str(table), "--chakra", str(folder)]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    num_ops = [chip["num_ops"] for chip in result["chips"]]
    assert err.splitlines()[-3:] == [
        f"meshtwin: wrote the trace of {sum(num_ops)} ops: {trace}",
        f"meshtwin: wrote the table of {sum(num_ops)} ops: {table}",
        f"meshtwin: wrote the Chakra traces of {sum(num_ops)} ops: {folder}",
    ]
    slices = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
    assert [sum(e["pid"] == rank + 1 for e in slices) for rank in range(2)] == num_ops
    sim_ps = max(e["args"]["sim_start_ps"] + e["args"]["sim_duration_ps"] for e in slices)
    assert max(e["ts"] + e["dur"] for e in slices) == pytest.approx(sim_ps // 1000 / 1e3)
    rate = result["sim_decode_tokens_per_s_per_user"]
    steps = result["num_new_tokens"] - 1
    sim_s = result["sim_ttft_s"] + (steps / rate if rate else 0.0)
    assert sim_ps == pytest.approx(sim_s * 1e12)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert max(int(r["SIM START [ps]"]) + int(r["SIM DURATION [ps]"]) for r in rows) == sim_ps
    assert len(list(folder.glob("*.et"))) == 2

"""Rows as the planner gives them, for pictures."""

from typing import Any

PLANS: list[dict[str, Any]] = [
    {
        "model": model, "tp": tp, "batch": batch, "prompt": prompt, "chips": tp,
        "sim_ttft_ms": prompt / tp / speed,
        "sim_tokens_per_s_per_user": 100 * speed * tp**0.7 / (1 + batch / 40),
        "sim_tokens_per_s": 100 * speed * tp**0.7 / (1 + batch / 40) * batch,
        "share_compute": tp / 10, "share_dram": 1 - tp / 10,
        "link_bytes": {f"{i}->{(i + 1) % tp}": 100 for i in range(tp)} if tp > 1 else {},
        "error": "",
    }
    for model, speed in (("a", 1.0), ("b", 0.3))
    for tp in (1, 2, 4, 8)
    for batch in (1, 32)
    for prompt in (128, 1024)
]  # fmt: skip

"""What a generation took, in tokens and in wall and simulated time."""

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(slots=True)
class GenerationStatistics:
    """What one generation took so far. TTFT is the time to the first token: the prefill.

    In a batch, the prefills of those before it too, since they go one after another.

    Attributes:
        token_ids: the new tokens, the end-of-sequence token included.
        stopped_by: "end_of_sequence" or "max_tokens".
    """

    num_prompt_tokens: int
    token_ids: list[int] = field(default_factory=list)
    stopped_by: str = "max_tokens"
    wall_ttft_s: float = 0.0
    wall_decode_s: float = 0.0
    sim_ttft_s: float = 0.0
    sim_decode_s: float = 0.0

    @property
    def num_new_tokens(self) -> int:
        """Tokens generated."""
        return len(self.token_ids)

    @property
    def num_decode_steps(self) -> int:
        """Tokens after the first one."""
        return max(0, self.num_new_tokens - 1)

    @property
    def wall_tokens_per_s(self) -> float | None:
        """Decode steps per second of this machine; None before the second token."""
        return self.num_decode_steps / self.wall_decode_s if self.wall_decode_s else None

    @property
    def sim_tokens_per_s_per_user(self) -> float | None:
        """Decode steps per simulated second; None before the second token."""
        return self.num_decode_steps / self.sim_decode_s if self.sim_decode_s else None

    def add(self, token: int, wall_s: float, sim_s: float, stop: Collection[int] = ()) -> None:
        """Note a step: the first is the prefill, the others are decode; `stop` ends the text."""
        if not self.token_ids:
            self.wall_ttft_s, self.sim_ttft_s = wall_s, sim_s
        else:
            self.wall_decode_s += wall_s
            self.sim_decode_s += sim_s
        self.token_ids.append(token)
        if token in stop:
            self.stopped_by = "end_of_sequence"

    def may_go_on(self, max_new_tokens: int) -> bool:
        """Whether another token is to come."""
        return self.stopped_by == "max_tokens" and self.num_new_tokens < max_new_tokens

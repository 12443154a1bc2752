"""Measured models end to end (llm_perf.csv): each row is a plan of the same model on the same box.

What a row leaves unsaid is taken as the vendor's demos have it: a prompt of 128 tokens. Decode is
judged half way through the output.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from ...chip.cost import Work, stacks
from ...chip.dtype import DType
from ...chip.spec import ChipSpec, load_product
from ...fabric.errors import UnknownBox
from ...fabric.topology import Box, load_box
from ...models.catalogue import model_shape
from ...models.errors import UnknownShape
from ...models.plan import Deployment, PlannedReplica, fitting_mesh
from ...models.precision import PRECISIONS, Precision
from .case import counted
from .features import features
from .table import Line, shipped

DEMO_PROMPT = 128
"""Tokens of the demos (tt-metal models/tt_transformers/demo), where a row names none."""

BOXES = {"p300x2 (QuietBox 2)": "quietbox2"}
"""Boxes that the table calls otherwise."""
MODELS = {"Olmo-3.1-32B": "olmo-3-32b"}
"""Models that the catalogue calls otherwise."""
OPTIONAL = ("stack", "served")
"""Columns of a user's table that the shipped one has not."""
TUNED = ("quietbox2",)
"""Boxes whose rows are all of the port written for them."""

PERFORMANCE, ACCURACY = PRECISIONS["performance"], PRECISIONS["accuracy"]
LLAMA_3 = replace(ACCURACY, name="accuracy of Llama 3", attention=DType.BFP8_B)
OLMO_PERFORMANCE = replace(PERFORMANCE, name="performance of Olmo", down=DType.BFP4_B)
WORDS: Mapping[str, Precision] = {
    "tt_transformers performance (bfp4 MLP/bfp8 attn) unless model-specific": PERFORMANCE,
    "performance: bfp4 MLP, bfp8 attn (Qwen2.5-7B: bfp8 MLP/bf16 attn)": PERFORMANCE,
    "accuracy: bfp8 MLP, bf16 attn (70B+: bfp8 attn, bfp4 MLP; llama3 bfp8 attn+kv)": LLAMA_3,
    "bfp4 FF1/FF3": PERFORMANCE,
    "performance (bfp4 incl. FF2)": OLMO_PERFORMANCE,
    "BFP8 QKV/O/down/head, BFP4 gate/up, BF16 act, BFP8 KV": PERFORMANCE,
    "": PERFORMANCE,
}
"""What the table's words for a precision mean; a plan's own names are taken, too."""
TOO_LARGE = ("Olmo-3.1-32B", "accuracy")
"""Its bfp8 MLP would not fit p150's 32 GB: "accuracy" of a model as large is bfp4 in gate and up
(tt-metal models/tt_transformers/PERF.md), which is what others call performance."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a row ran: a model on a box under a stack."""

    deployment: Deployment
    stack: str
    is_served: bool

    @property
    def spec(self) -> ChipSpec:
        """The chips of the box."""
        return load_product(self.deployment.box.product)

    @property
    def positions(self) -> int:
        """In the cache of each user half way through the output."""
        return self.deployment.prompt + self.deployment.output // 2

    @property
    def features(self) -> Mapping[str, float]:
        """What a band may depend on."""
        return features(self.deployment, _replica(self.deployment).weight_bytes)


def lines() -> list[Line]:
    """The shipped rows."""
    return shipped("llm_perf.csv")


def setup(line: Line) -> Setup:
    """What a row ran: columns model, hardware, tensor_parallel, batch_users, prompt_len,
    output_len, precision, notes; `stack` and `served` ("yes", "no") where a table has them.

    Raises:
        BadRow: a field is missing or wrong.
    """
    box = _box(line)
    try:
        config = model_shape(MODELS.get(line.text("model"), line.text("model")))
    except UnknownShape as error:
        raise line.bad(str(error)) from error
    tp = line.integer_of("tensor_parallel", 1)
    dp = line.integer_of("data_parallel", 1)
    stack = "tuned" if box.name in TUNED else "tt_transformers"
    if line.text("stack"):
        stack = line.one_of("stack", stacks())
    deployment = Deployment(
        config,
        box,
        fitting_mesh(box, tp),
        dp,
        line.integer_of("batch_users", 1),
        line.integer_of("prompt_len", DEMO_PROMPT),
        line.integer_of("output_len", 1),
        _precision(line),
    )
    if line.text("served"):
        line.one_of("served", ("yes", "no"))
    is_served = line.text("served") == "yes" or "vLLM serve" in line.text("notes")
    return Setup(deployment, stack, is_served)


@cache
def decode_works(setup: Setup) -> tuple[tuple[tuple[Work, int], ...], float]:
    """The works of one decode step with their counts, and the time in us of its collectives."""
    replica = _replica(setup.deployment)
    replica.decode(setup.positions)
    return counted(replica.chip.recorder.works())


@cache
def prefill_works(setup: Setup) -> tuple[tuple[tuple[Work, int], ...], float]:
    """The works of one user's prefill with their counts, and the time in us of its collectives."""
    replica = _replica(setup.deployment)
    replica.prefill()
    return counted(replica.chip.recorder.works())


@cache
def _replica(deployment: Deployment) -> PlannedReplica:
    return PlannedReplica(deployment)


def _box(line: Line) -> Box:
    name = line.text("hardware")
    try:
        return load_box(BOXES.get(name, name))
    except UnknownBox as error:
        raise line.bad(str(error)) from error


def _precision(line: Line) -> Precision:
    words = line.text("precision")
    if (line.text("model"), words) == TOO_LARGE:
        return PERFORMANCE
    if not words and "accuracy mode" in line.text("notes"):
        return ACCURACY
    if words in WORDS:
        return WORDS[words]
    if words not in PRECISIONS:
        raise line.bad(f"precision (={words!r}) must be one of {', '.join(PRECISIONS)}")
    return PRECISIONS[words]

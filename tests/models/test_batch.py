"""Decoding many users at once: each gets what it gets alone, wherever the others stand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.cost import DEFAULT_STACK
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip
from meshtwin.models import programs
from meshtwin.models.builder import DecoderBuilder, load_decoder
from meshtwin.models.decoder import Decoder
from meshtwin.models.plan import Deployment, PlannedReplica
from meshtwin.models.precision import Precision
from meshtwin.models.sampling import Sampling
from meshtwin.models.shapes import open_folder

from ..spmd import run_spmd
from .families import FAMILIES, IDS, write_family
from .reference import ReferenceLlama
from .sharded import BOXES, Array, Model, Program, broad, same_on_all
from .tiny import tiny_config

PROMPTS = [IDS[:5], IDS[3:4], IDS[2:14], IDS[7:10]]
NUM_NEW = 5
GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "families.npz")


def batched_logits(
    chip: MeshChip, decoder: Decoder, ids: Sequence[Sequence[int]], prompts: Sequence[int]
) -> list[Array]:
    """Logits of each user from the last position of its prompt on, the rest decoded together."""
    decoder.start(chip, len(ids), max(map(len, ids)))
    rows = []
    for user, (own, prompt) in enumerate(zip(ids, prompts, strict=True)):
        found = decoder.prefill(chip, np.array(own[:prompt], np.int32), user)
        rows.append([chip.all_gather(found, dim=-1).to_numpy().ravel()])
    while any(len(own) > at for own, at in zip(ids, decoder.cache.lengths, strict=True)):  # type: ignore[union-attr]
        lengths = decoder.cache.lengths  # type: ignore[union-attr]
        step = [own[at] if at < len(own) else -1 for own, at in zip(ids, lengths, strict=True)]
        found = decoder.decode(chip, np.array(step, np.int32))
        assert found.shape[:3] == (1, 1, len(ids))
        whole = chip.all_gather(found, dim=-1).to_numpy()[0, 0]
        for user, token in enumerate(step):
            if token >= 0:
                rows[user].append(whole[user])
    return [np.stack(own)[:, : decoder.config.vocab_size] for own in rows]


def generated(prompts: Sequence[Sequence[int]], sampling: Sampling) -> Program:
    """The tokens of each user of a batch."""

    def program(builder: DecoderBuilder) -> list[list[int]]:
        chip, decoder = builder.chip, builder.decoder()
        new = (len(prompts), max(map(len, prompts)) + NUM_NEW)
        users = [
            [programs.prefill(chip, decoder, list(prompt), sampling, user, None if user else new)]
            for user, prompt in enumerate(prompts)
        ]
        for _ in range(NUM_NEW - 1):
            last = [own[-1] for own in users]
            tokens = programs.decode(chip, decoder, last, sampling)
            for own, token in zip(users, tokens.tolist(), strict=True):
                own.append(token)
        return users

    return program


@pytest.mark.parametrize("num_chips", [1, 2, 4])
@pytest.mark.parametrize("variant", ["plain", "nothing divides"])
def test_each_user_of_a_batch_gets_the_tokens_of_its_prompt_alone(
    num_chips: int, variant: str
) -> None:
    sizes = {"vocab_size": 101, "hidden_size": 35, "num_heads": 9, "num_kv_heads": 3}
    config = tiny_config(eos_token_ids=(), **(sizes if variant != "plain" else {}))
    with Model(config) as model:
        reference = ReferenceLlama(model.folder)
        expected = [reference.greedy(prompt, NUM_NEW) for prompt in PROMPTS]
        tokens = model.run(num_chips, DType.FLOAT32, generated(PROMPTS, Sampling()))
    assert tokens == [expected] * num_chips


@broad
@given(
    num_chips=st.sampled_from([1, 2]),
    lengths=st.lists(st.integers(1, 8), min_size=2, max_size=5),
    temperature=st.sampled_from([0.0, 1.0]),
    top_k=st.sampled_from([0, 5]),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([DType.FLOAT32, DType.BFLOAT16]),
)
def test_a_users_tokens_do_not_depend_on_who_else_is_there(
    num_chips: int, lengths: list[int], temperature: float, top_k: int, seed: int, dtype: DType
) -> None:
    """To the last bit: a row's sums have one order, alone or among others.

    On three chips or more a row's order of additions depends on where an all_reduce cuts the whole.
    """
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(0, 96, length).tolist() for length in lengths]
    sampling = Sampling(temperature, top_k, seed=seed)
    with Model(tiny_config(), seed=seed) as model:
        together = same_on_all(model.run(num_chips, dtype, generated(prompts, sampling)))
        for own, prompt in zip(together, prompts, strict=True):
            alone = model.run(num_chips, dtype, generated([prompt], sampling))[0]
            assert [own] == alone


@pytest.mark.parametrize("num_chips", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_decodes_users_at_different_positions(
    tmp_path: Path, name: str, num_chips: int
) -> None:
    folder = write_family(tmp_path, name)
    config, _ = open_folder(folder)
    prompts = [12, 3, 8]

    def program(chip: MeshChip) -> list[Array]:
        decoder = load_decoder(chip, folder, config, DType.FLOAT32)
        return batched_logits(chip, decoder, [IDS, IDS[:9], IDS[:15]], prompts)

    users = run_spmd(BOXES[num_chips], program)[0]
    for found, prompt, length in zip(users, prompts, (len(IDS), 9, 15), strict=True):
        expected = GOLDEN[name][prompt - 1 : length]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "performance"])
def test_a_cache_of_every_format_gives_each_user_its_own(precision: str) -> None:
    """Also block floats: a step packs the rows that it writes, and leaves the others alone."""

    def program(builder: DecoderBuilder) -> None:
        chip, config = builder.chip, builder.config
        decoder = DecoderBuilder(
            chip, builder.load.source, config, Precision.parse(precision)
        ).decoder()
        together = batched_logits(chip, decoder, PROMPTS, [2, 1, 7, 3])
        for own, prompt, length in zip(together, PROMPTS, [2, 1, 7, 3], strict=True):
            (alone,) = batched_logits(chip, decoder, [prompt], [length])
            np.testing.assert_array_equal(own, alone)

    with Model(tiny_config(head_dim=32, hidden_size=64), "BF16") as model:
        model.run(2, DType.BFLOAT16, program)


def test_what_does_not_fit_the_batch_is_refused() -> None:
    def program(builder: DecoderBuilder) -> None:
        chip, decoder = builder.chip, builder.decoder()
        decoder.start(chip, 2, 3)
        ids = np.array([1, 2], np.int32)
        decoder.prefill(chip, ids, 1)
        with pytest.raises(InvalidArgument, match="user 1 of 2 has 2 tokens"):
            decoder.prefill(chip, ids, 1)
        with pytest.raises(InvalidArgument, match=r"user \(=2\) must be within 0 \.\. 1"):
            decoder.prefill(chip, ids, 2)
        with pytest.raises(InvalidArgument, match=r"ids \(1,\) \(expected \(2,\)"):
            decoder.decode(chip, ids[:1])
        decoder.decode(chip, ids)
        with pytest.raises(InvalidArgument, match=r"position 3 of user 1"):
            decoder.decode(chip, ids)
        decoder.decode(chip, np.array([1, -1], np.int32))
        assert decoder.cache is not None and decoder.cache.lengths == [2, 3]

    with Model(tiny_config()) as model:
        model.run(1, DType.FLOAT32, program)


def planned(batch: int) -> PlannedReplica:
    """A Llama of some size on one chip."""
    config = tiny_config(
        num_layers=1, hidden_size=2048, intermediate_size=8192, num_heads=16, head_dim=128
    )
    return PlannedReplica(
        Deployment(config, load_box("p150"), (1, 1), 1, batch, 16, 16, Precision.parse("bfloat16"))
    )


def test_32_users_take_the_work_of_one_tile_row() -> None:
    def products(batch: int) -> list[tuple[int, int]]:
        records = planned(batch).decode(16).records
        return [
            (record.sim_duration_ps, record.bytes) for record in records if record.name == "linear"
        ]

    assert products(32) == products(1) != products(33)
    one, many = (planned(batch).decode(16).sim_ps for batch in (1, 32))
    assert one < many < 1.5 * one


def test_a_plan_of_many_users_has_the_ops_and_times_of_a_run() -> None:
    config = tiny_config(num_layers=2, vocab_size=100)

    def program(builder: DecoderBuilder) -> list[object]:
        chip, decoder = builder.chip, builder.decoder()
        decoder.start(chip, 3, 12)
        for user in range(3):
            programs.prefill(chip, decoder, [1, 2, 3, 4, 5], Sampling(), user)
        chip.recorder.clear()
        programs.decode(chip, decoder, [6, 7, 8], Sampling())
        return [record[:3] + record[5:] for record in chip.recorder.records()]

    with Model(config, "BF16") as model:
        run = model.run(4, DType.BFLOAT16, program)[0]
    plan = PlannedReplica(
        Deployment(
            config, load_box("quietbox2"), (2, 2), 1, 3, 5, 7, Precision.parse("bfloat16"),
            DEFAULT_STACK,
        )
    )  # fmt: skip
    plan.prefill()
    assert [record[:3] + record[5:] for record in plan.decode(5).records] == run

"""The norm, which every chip computes whole, against the formula."""

from hypothesis import given

from meshtwin.chip.dtype import DType
from meshtwin.models.builder import DecoderBuilder

from ..reference import rms_norm
from ..sharded import Model, activations, assert_agree, broad, same_on_all
from ..strategies import dtypes, mesh_sizes, odd_sizes
from ..tiny import random_weights, tiny_config


@broad
@given(num_chips=mesh_sizes, width=odd_sizes, dtype=dtypes)
def test_a_norm_is_the_same_on_every_chip_and_on_one(
    num_chips: int, width: int, dtype: DType
) -> None:
    config = tiny_config(hidden_size=width, num_layers=1, rms_norm_eps=1e-3)
    x = activations(2, 3, width)

    def program(builder: DecoderBuilder) -> object:
        chip = builder.chip
        return builder.norm("model.norm")(chip, chip.tensor(x, dtype))

    with Model(config) as model:
        found = same_on_all(model.run(num_chips, dtype, program))
        (whole,) = model.run(1, dtype, program)
    assert found.tobytes() == whole.tobytes()
    if dtype is DType.FLOAT32:
        assert_agree(
            whole, rms_norm(x, random_weights(config)["model.norm.weight"], 1e-3), 1, dtype
        )

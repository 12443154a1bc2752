"""SmolLM2 on a QuietBox 2 with one wrong shard: chip, layer and op are named; clean, nothing is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshtwin.chip.dtype import DType
from meshtwin.mesh.compare import OneChip, Reference, bisect
from meshtwin.mesh.device import MeshDevice
from meshtwin.mesh.program import MeshChip
from meshtwin.models import programs
from meshtwin.models.decoder import Decoder
from meshtwin.models.shapes import open_folder

from .comparing import Plant, nothing, of_another_chip, of_another_layer

pytestmark = [pytest.mark.ray, pytest.mark.model, pytest.mark.slow]

IDS = [504, 3575, 282, 4649, 314]
O_PROJ, DOWN = "attention.output_weight", "mlp.down_DFc"


class Loaded:
    """SmolLM2 on four chips, with a planted bug, and what it may be compared with."""

    def __init__(self, mesh: MeshDevice, folder: Path) -> None:
        self.mesh, self.args = mesh, (str(folder), open_folder(folder)[0], DType.BFLOAT16)
        self.good = self.load(nothing)

    def load(self, plant: Plant) -> Any:
        def program(chip: MeshChip, *args: Any) -> Decoder:
            return plant(chip, programs.load(chip, *args))

        return self.mesh.run(program, *self.args, keep=True)

    def reference(self, against: str) -> Reference | OneChip | None:
        if against == "good weights":
            return Reference(programs.all_logits, self.good, IDS)
        one_chip = OneChip(programs.load_and_prefill, *self.args, IDS)
        return one_chip if against == "one chip" else None


@pytest.fixture(scope="module")
def smollm2(quietbox2_mesh: MeshDevice, smollm2_bfloat16: Path) -> Iterator[Loaded]:
    yield Loaded(quietbox2_mesh, smollm2_bfloat16)


@pytest.mark.parametrize("against", ["float32", "good weights", "one chip"])
def test_nothing_is_found_in_the_model_as_it_is(smollm2: Loaded, against: str) -> None:
    reference = smollm2.reference(against)
    finding = bisect(smollm2.mesh, programs.all_logits, smollm2.good, IDS, reference=reference)
    assert finding is None, str(finding)


@pytest.mark.parametrize("against", ["good weights", "one chip"])
@pytest.mark.parametrize(
    ("plant", "file"),
    [
        (of_another_layer(2, 7, O_PROJ, 8), "attention.py"),
        (of_another_chip(2, 7, O_PROJ, 1), "attention.py"),
        (of_another_layer(2, 7, DOWN, 8), "mlp.py"),
        (of_another_chip(2, 7, DOWN, 1), "mlp.py"),
    ],
    ids=["o_proj of layer 8", "o_proj of chip 1", "down_proj of layer 8", "down_proj of chip 1"],
)
def test_chip_2_layer_7_and_the_op_are_named(
    smollm2: Loaded, against: str, plant: Plant, file: str
) -> None:
    bad, reference = smollm2.load(plant), smollm2.reference(against)
    finding = bisect(smollm2.mesh, programs.all_logits, bad, IDS, reference=reference)
    assert finding is not None and finding.row is not None
    assert (finding.chips, finding.row.op, finding.row.scope) == ((2,), "linear", "layer 7")
    assert finding.row.line.startswith(file) and finding.inputs_were_fine

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import InvalidArgument
from meshtwin.mesh.device import open_mesh


@pytest.mark.ray
def test_a_mesh_takes_the_time_of_its_stack(ray_session: None) -> None:
    x = np.ones((32, 32), np.float32)
    with open_mesh("p150", stack="tuned") as mesh:
        mesh.run(lambda chip, x: chip.add(x, x), mesh.replicate(x))
        ((run,),) = [chip.records for chip in mesh.records()]
    times = {}
    for stack in ("tuned", "ttnn"):
        chip = Chip.open("p150", stack=stack)
        chip.add(chip.tensor(x), chip.tensor(x))
        times[stack] = chip.clock.now_ps
    assert run.sim_duration_ps == times["tuned"] > times["ttnn"]


def test_an_unknown_stack_is_refused_before_any_chip_starts() -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'tuned'"):
        open_mesh("p150", stack="tune")

"""Errors of the fabric: they travel, and they say what was expected."""

import pickle

import pytest

from meshtwin.chip.errors import MeshtwinError
from meshtwin.fabric import errors

EXAMPLES = (
    errors.FabricError("something"),
    errors.UnknownBox("galxy", "galaxy", ("galaxy", "p150")),
    errors.UnknownRank(9, 4, "route in quietbox2"),
    errors.SharedMemoryRefused("memfd_create", "not permitted"),
    errors.PortRefused("tcp://10.0.0.1:*", "no such device"),
    errors.RecvTimeout(0, 3, 1.5, "a frame"),
    errors.SendTimeout(0, 3, 1.5, 1000),
    errors.PeerAborted(0, 3, 12),
    errors.TransportClosed(2),
    errors.LinkDown((0, 1), 2_500_000, "all_reduce"),
    errors.FabricHang(0, ((0, (1,), "a"), (1, (0,), "b")), "a cycle of two"),
    errors.FrameError("3 bytes", "a header"),
    errors.PacketError("3 bytes", "a packet"),
    errors.CrcError("CRC-32C 0x1", "0x2"),
    errors.LinkDown((0, 1), 1500, "message 3 of chip 0"),
    errors.LinkGaveUp((0, 1), 0, "packet 2 of message 3 of chip 0"),
    errors.FabricHang(0, ((0, (1,), "all_reduce"),), "a cycle"),
    errors.SubmeshError("galaxy", (8, 4), (1, 8), ((8, 1), (4, 2))),
)


def test_every_error_of_the_fabric_is_among_the_examples() -> None:
    kinds = {value for value in vars(errors).values() if isinstance(value, type)}
    assert {type(error) for error in EXAMPLES} == kinds - {MeshtwinError}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle_by_type_fields_and_text(error: errors.FabricError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == str(error)


def test_a_timeout_says_who_waited_for_what_from_whom_and_how_long() -> None:
    text = str(errors.RecvTimeout(0, 3, 1.5, "a frame"))
    assert text == "chip 0 waited 1.5 s for a frame from chip 3 (limit: timeout_s)"


def test_an_unknown_box_gives_the_nearest_and_the_known_ones() -> None:
    text = str(errors.UnknownBox("galxy", "galaxy", ("galaxy", "p150")))
    assert "Did you mean 'galaxy'?" in text and "galaxy, p150" in text

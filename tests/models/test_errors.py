"""What errors of models say."""

from meshtwin.models.errors import ContextOverflow


def test_a_context_that_overflows_is_answered_with_what_fits() -> None:
    assert str(ContextOverflow(90, 20, 100)).endswith(
        "; at most 10 new tokens fit after this prompt"
    )
    assert str(ContextOverflow(300, 20, 100)).endswith(
        "; the largest prompt before 20 new tokens is 80"
    )

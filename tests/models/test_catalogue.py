"""The catalogue of shapes: parameters as published, names as people write them."""

import json
import math
from pathlib import Path

import pytest

from meshtwin.models.catalogue import known_models, model_shape
from meshtwin.models.errors import UnknownShape
from meshtwin.models.shapes import weight_shapes

from .tiny import hf_config, tiny_config

PARAMETERS = {  # billions, as the models' pages give them; text part only
    "llama-3.1-8b": 8.03,
    "llama-3.1-70b": 70.6,
    "llama-3.2-1b": 1.24,
    "llama-3.2-3b": 3.21,
    "smollm2-135m": 0.1345,
    "qwen2.5-7b": 7.62,
    "qwen2.5-32b": 32.8,
    "qwen2.5-72b": 72.7,
    "qwen3-0.6b": 0.596,
    "qwen3-8b": 8.19,
    "qwen3-14b": 14.8,
    "qwen3-32b": 32.8,
    "qwen3-30b-a3b": 30.5,
    "qwen3-coder-30b-a3b": 30.5,
    "mistral-7b": 7.25,
    "mixtral-8x7b": 46.7,
    "phi-3-mini": 3.82,
    "falcon-40b": 41.3,
    "gpt-oss-20b": 20.9,
    "gpt-oss-120b": 116.8,
    "gemma-3-4b": 3.88,
    "gemma-3-12b": 11.8,
    "gemma-3-27b": 27.0,
    "olmo-3-32b": 32.2,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_model_has_as_many_parameters_as_published(name: str) -> None:
    counted = sum(map(math.prod, weight_shapes(model_shape(name)).values())) / 1e9
    assert counted == pytest.approx(PARAMETERS[name], rel=0.005)


def test_the_text_part_of_a_model_that_sees_is_that_of_its_text_model() -> None:
    assert set(known_models()) - set(PARAMETERS) == {"llama-3.2-11b", "llama-3.2-90b"}
    for seeing, text in (("llama-3.2-11b", "llama-3.1-8b"), ("llama-3.2-90b", "llama-3.1-70b")):
        assert weight_shapes(model_shape(seeing)) == weight_shapes(model_shape(text))


@pytest.mark.parametrize(
    "name", ["Llama-3.3-70B", "meta-llama/Llama-3.1-70B-Instruct", "deepseek_r1_distill_llama_70b"]
)
def test_a_name_is_taken_as_people_write_it(name: str) -> None:
    assert model_shape(name) == model_shape("llama-3.1-70b")


def test_a_folder_or_a_config_file_is_a_shape_too(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(hf_config(tiny_config())))
    assert model_shape(str(tmp_path)) == model_shape(str(path)) == tiny_config()


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownShape, match=r"'qwen3-9b': did you mean 'qwen3-8b'\?"):
        model_shape("qwen3-9b")

"""The catalogue of shapes: parameters as published, names as people write them."""

import json
import math
from pathlib import Path

import pytest

from meshtwin.models.catalogue import known_models, model_note, model_shape
from meshtwin.models.errors import CorruptCheckpoint, UnknownShape, UnknownShapePath
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


@pytest.mark.parametrize(
    "path", ["cfg/nofile.json", "nofile.json", "./nofolder", "README.nothing", "~/m", "a\\b"]
)
def test_what_looks_like_a_path_is_answered_as_one(path: str) -> None:
    with pytest.raises(UnknownShapePath, match="there is no file or folder") as caught:
        model_shape(path)
    assert repr(path) in str(caught.value)
    assert "Known:" not in str(caught.value)


def test_a_name_with_an_organisation_that_is_unknown_has_the_nearest_beside_it() -> None:
    with pytest.raises(UnknownShapePath, match="the nearest is 'qwen3-8b'"):
        model_shape("Qwen/Qwen3-9B")


def test_a_file_that_is_no_config_is_named(tmp_path: Path) -> None:
    readme, config = tmp_path / "README.md", tmp_path / "mine.json"
    readme.write_text("# A model")
    with pytest.raises(CorruptCheckpoint, match=r"README\.md: no config\.json: not JSON"):
        model_shape(str(readme))
    config.write_text(json.dumps({**hf_config(tiny_config()), "hidden_size": "big"}))
    with pytest.raises(CorruptCheckpoint, match=r"mine\.json: hidden_size"):
        model_shape(str(config))


@pytest.mark.parametrize("name", ["", " "])
def test_no_name_at_all_is_said_to_be_none(name: str) -> None:
    with pytest.raises(UnknownShape, match=r"the model is empty\. Known: llama"):
        model_shape(name)


@pytest.mark.parametrize("name", ["phi-3-mini-5k", "llama-3.3-70", "deepseek-r1-distill-llama"])
def test_a_suggestion_is_one_of_the_names_listed(name: str) -> None:
    with pytest.raises(UnknownShape) as caught:
        model_shape(name)
    assert caught.value.nearest_known in caught.value.known


def test_a_note_of_the_catalogue_goes_with_its_model(tmp_path: Path) -> None:
    assert model_note("meta-llama/Llama-3.2-11B") == known_models()["llama-3.2-11b"]["note"]
    assert model_note("llama-3.1-8b") == model_note(str(tmp_path)) == ""

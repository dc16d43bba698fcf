"""Files of weights: added, kept, found again, and refused by name."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gliolake.errors import InputError
from gliolake.features.backbones.video import VideoBackbone
from gliolake.features.networks.registry import empty_network, expected_shapes
from gliolake.features.networks.vivit import today_name
from gliolake.features.weights import download as weight_download
from gliolake.features.weights.download import fetch_weights
from gliolake.features.weights.files import read_weights
from gliolake.features.weights.folder import add_weights, find_weights, list_weights, verify_weights
from gliolake.features.weights.sources import SOURCES
from gliolake.features.weights.untrained import untrained_state

SLOWFAST = "slowfast_4x16_resnet50_kinetics400"


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """SlowFast's tensors, untrained."""
    return untrained_state(empty_network(SLOWFAST), 3)


@pytest.fixture(scope="module")
def saved(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a file as torch 1.4 wrote them, GluonCV's time."""
    path = tmp_path_factory.mktemp("weights") / "slowfast.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def kept(saved: Path, tmp_path: Path) -> Path:
    """A weights folder that has the file."""
    add_weights(saved, SLOWFAST, tmp_path / "kept", any_checksum=True)
    return tmp_path / "kept"


def test_added_weights_give_the_vectors_of_the_network_that_was_saved(kept: Path) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (40, 128, 128), dtype=np.uint8)
    trained = VideoBackbone(SLOWFAST, folder=str(kept))
    assert trained.weights == "trained"
    assert trained.recipe()["weights"]["origin"] == "given by hand, not the published file"
    assert trained.recipe()["weights"]["sha256"] == find_weights(SLOWFAST, kept).sha256
    untrained = VideoBackbone(SLOWFAST, "untrained:3")
    assert trained.vectors([clip]).tobytes() == untrained.vectors([clip]).tobytes()
    assert {row.name: row.state for row in verify_weights(folder=kept)} == {
        name: "present" if name == SLOWFAST else "absent" for name in SOURCES
    }


def test_absent_weights_are_an_error_that_says_exactly_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIOLAKE_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=f"weights of {SLOWFAST} are not in {tmp_path}") as caught:
        VideoBackbone(SLOWFAST)
    assert f"{SLOWFAST}-1d1eadb2.pth (about 138 MB)" in caught.value.hint
    assert f"gliolake weights add {SLOWFAST} FILE" in caught.value.hint
    assert "--weights untrained:0" in caught.value.hint
    assert [row.state for row in list_weights()] == ["absent"] * len(SOURCES)


def test_the_published_checksum_decides(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"published weights of slowfast\S+ have 1d1eadb2") as caught:
        add_weights(saved, SLOWFAST, tmp_path)
    assert "--skip-checksum" in caught.value.hint
    assert not list(tmp_path.iterdir())
    digest = hashlib.sha1(saved.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setitem(SOURCES, SLOWFAST, replace(SOURCES[SLOWFAST], sha1=digest))
    assert add_weights(saved, SLOWFAST, tmp_path).origin == "published checksum matched"


def test_weights_of_another_network_are_refused_and_named(saved: Path) -> None:
    with pytest.raises(InputError, match=r"slowfast\.pth does not hold the weights of ircsn_v2") as caught:
        read_weights(saved, "ircsn_v2_resnet152_f32s2_kinetics400")
    assert "missing: bn1.bias, bn1.running_mean, bn1.running_var, bn1.weight and " in str(caught.value)
    assert "unexpected: fast_bn1.bias" in str(caught.value)
    assert caught.value.hint == f"These are the weights of {SLOWFAST}."


Spoil = Callable[[dict[str, torch.Tensor]], Any]


@pytest.mark.parametrize(
    ("spoil", "message", "hint"),
    [
        (lambda s: {**s, "fc.weight": torch.zeros(487, 2304)}, r"fc.weight has shape \(487, 2304\)", "other classes"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "missing: fast_bn1.bias", "begins with 'module.'"),
        (lambda s: {"epoch": 3, "state_dict": s}, "not a mapping of names to tensors", "state_dict"),
        (lambda s: {k: v for k, v in s.items() if k != "fc.bias"}, r"missing: fc\.bias\.", "names agree"),
        (lambda s: {**s, "fc.bias": torch.zeros(400, dtype=torch.int32)}, "not floating-point in: fc.bias", ""),
        (lambda s: list(s.values()), "not a mapping of names to tensors", "state_dict()"),
    ],
)
def test_other_contents_are_refused_with_the_likeliest_explanation(
    state: dict[str, torch.Tensor], tmp_path: Path, spoil: Spoil, message: str, hint: str
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(spoil(state), path)
    with pytest.raises(InputError, match=message) as caught:
        read_weights(path, SLOWFAST)
    assert "mine.pth" in str(caught.value)
    assert hint in caught.value.hint


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    target, path = tmp_path / "boom", tmp_path / "bomb.pth"
    content = {"fc.bias": state["fc.bias"], "extra": Bomb(target)}
    for modern in (True, False):
        torch.save(content, path, _use_new_zipfile_serialization=modern)
        with pytest.raises(InputError, match=r"bomb\.pth asks to run code \((posix|nt)\.mkdir\)"):
            read_weights(path, SLOWFAST)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"bomb\.pth"):
        read_weights(path, SLOWFAST)
    assert not target.exists()
    run, arguments = Bomb(target).__reduce__()
    run(*arguments)
    assert target.exists(), "the bomb is none, and the test tests nothing"


def test_truncated_empty_and_strange_files_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "file"
    for modern in (True, False):
        torch.save(state, path, _use_new_zipfile_serialization=modern)
        content = path.read_bytes()
        for length in (len(content) - 1000, 4000, 9):
            path.write_bytes(content[:length])
            with pytest.raises(InputError, match=rf"file \({length} bytes\) is damaged or cut short"):
                read_weights(path, SLOWFAST)
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="damaged or cut short, and cannot be read as a safetensors file"):
        read_weights(path, SLOWFAST)
    for content in (b"", b"<html>404</html>"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"no file of weights: it has {len(content)} bytes"):
            read_weights(path, SLOWFAST)
    with pytest.raises(InputError, match="There is no file"):
        read_weights(tmp_path / "nowhere", SLOWFAST)


def test_an_archive_that_is_compressed_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "small.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**7)
    with pytest.raises(InputError, match="compressed archive"):
        read_weights(path, SLOWFAST)


def test_a_changed_file_in_the_folder_is_found_and_not_used(kept: Path) -> None:
    path = kept / f"{SLOWFAST}.pth"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    row = next(row for row in verify_weights(SLOWFAST, kept) if row.name == SLOWFAST)
    assert row.state == "damaged"
    assert "changed after it was added" in row.detail
    with pytest.raises(InputError, match="changed after it was added"):
        VideoBackbone(SLOWFAST, folder=str(kept)).vectors([np.zeros((40, 128, 128), np.uint8)])
    description = kept / f"{SLOWFAST}.json"
    for text in ("{", "[]", json.dumps({"name": 1}), description.read_text().replace(".pth", ".old")):
        description.write_text(text)
        assert list_weights(kept)[1].state == "damaged"
        with pytest.raises(InputError, match="describe"):
            find_weights(SLOWFAST, kept)


def test_safetensors_take_the_place_of_what_was_there(state: dict[str, torch.Tensor], kept: Path) -> None:
    path = kept.parent / "mine"
    save_file({name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}, path)
    added = add_weights(path, SLOWFAST, kept, any_checksum=True)
    assert sorted(file.name for file in kept.iterdir()) == [f"{SLOWFAST}.json", f"{SLOWFAST}.safetensors"]
    assert added.sha256 == added.added_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_weights(kept / added.file, SLOWFAST).keys() == expected_shapes(SLOWFAST).keys()


@pytest.mark.parametrize("mine", [f"{SLOWFAST}.pth", f"{SLOWFAST}.json"])
def test_a_file_that_somebody_else_put_into_the_folder_is_not_replaced(saved: Path, tmp_path: Path, mine: str) -> None:
    (tmp_path / mine).write_bytes(b"weeks of training")
    with pytest.raises(InputError, match="is not a file of weights as gliolake writes it"):
        add_weights(saved, SLOWFAST, tmp_path, any_checksum=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"weeks of training"]


def test_a_file_of_another_format_that_was_not_added_is_not_removed(saved: Path, kept: Path) -> None:
    mine = kept / f"{SLOWFAST}.safetensors"
    mine.write_bytes(b"weeks of training")
    add_weights(saved, SLOWFAST, kept, any_checksum=True)
    assert mine.read_bytes() == b"weeks of training"


def test_a_file_that_lies_in_the_weights_folder_already_stays_when_it_is_added(
    saved: Path, kept: Path, state: dict[str, torch.Tensor]
) -> None:
    mine = kept / "my_best.safetensors"
    save_file({name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}, mine)
    content = mine.read_bytes()
    add_weights(mine, SLOWFAST, kept, any_checksum=True)
    assert mine.read_bytes() == content
    assert add_weights(kept / f"{SLOWFAST}.safetensors", SLOWFAST, kept, any_checksum=True).bytes == len(content)
    assert {path.name for path in kept.iterdir()} == {mine.name, f"{SLOWFAST}.json", f"{SLOWFAST}.safetensors"}


def test_the_published_names_of_vivit_become_what_transformers_makes_of_them(tmp_path: Path) -> None:
    from transformers import VivitConfig, VivitForVideoClassification

    settings = VivitConfig(image_size=16, num_frames=2, hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    settings.intermediate_size, settings.num_labels = 12, 5
    network = VivitForVideoClassification(settings)
    today = untrained_state(network, 1)
    published = {old: today[today_name(old)] for old in published_names(2)}
    assert len(published) == len(today)
    network.load_state_dict(today)
    settings.save_pretrained(tmp_path)
    save_file(
        {old: value.clone() for old, value in published.items()}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    theirs = VivitForVideoClassification.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in today.items())


def published_names(layers: int) -> list[str]:
    """Names in google/vivit-b-16x2-kinetics400, as its conversion script in transformers 4 made them."""
    names = ["vivit.embeddings.cls_token", "vivit.embeddings.position_embeddings"]
    modules = ["vivit.embeddings.patch_embeddings.projection", "vivit.layernorm", "classifier"]
    for layer in range(layers):
        parts = ("attention.attention.query", "attention.attention.key", "attention.attention.value", "output.dense")
        parts += ("attention.output.dense", "intermediate.dense", "layernorm_before", "layernorm_after")
        modules += [f"vivit.encoder.layer.{layer}.{part}" for part in parts]
    return names + [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]


@pytest.fixture
def server(saved: Path) -> Iterator[str]:
    """A web server with the file at /whole, half of it at /half, and nothing else."""
    content = saved.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in {"/whole", "/half"}:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if self.path == "/whole" else content[: len(content) // 2])

        def log_message(self, *_: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    thread.join()
    running.server_close()


def test_fetched_weights_are_checked_and_what_breaks_off_leaves_nothing(
    server: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha1(saved.read_bytes(), usedforsecurity=False).hexdigest()
    source = replace(SOURCES[SLOWFAST], sha1=digest)
    monkeypatch.setitem(SOURCES, SLOWFAST, source)
    for page, message in (("/half", "broke off after"), ("/none", "cannot be fetched: Not Found")):
        with pytest.raises(InputError, match=message):
            fetch_weights(SLOWFAST, tmp_path, url=server + page)
    with pytest.raises(InputError, match="not an address on the web"):
        fetch_weights(SLOWFAST, tmp_path, url=saved.as_uri())
    monkeypatch.setattr(weight_download, "LARGEST_RATIO", 0.5)
    with pytest.raises(InputError, match="sends more than"):
        fetch_weights(SLOWFAST, tmp_path, url=f"{server}/whole")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(weight_download, "LARGEST_RATIO", 3)
    assert fetch_weights(SLOWFAST, tmp_path, url=f"{server}/whole").origin == "published checksum matched"
    assert verify_weights(SLOWFAST, tmp_path)[0].state == "present"

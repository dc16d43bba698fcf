"""The second engine: MXNet, in workers of an environment of its own, computes what torch computes here."""

from __future__ import annotations

import hashlib
import operator
import os
import re
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import numpy.typing as npt
import pytest
import torch

from gliolake.cluster.client import pool_workers
from gliolake.errors import ClusterError, InputError
from gliolake.features.backbones.mxnet import environment as engine
from gliolake.features.backbones.mxnet.backbone import MXNET_NETWORKS, MxnetBackbone
from gliolake.features.backbones.mxnet.environment import PINS, mxnet_environment, open_mxnet
from gliolake.features.backbones.registry import VIDEO_NETWORKS, BackboneOptions, open_backbone
from gliolake.features.backbones.video import VideoBackbone
from gliolake.features.extraction.command import extract
from gliolake.features.networks.registry import UNUSED, empty_network, load_network
from gliolake.features.weights.folder import add_weights, verify_weights
from gliolake.features.weights.mxnet_params import LIST_MAGIC, read_params, shared_name, untrained_tensor
from gliolake.features.weights.untrained import untrained_state
from gliolake.ingest.synthetic.cohort import SyntheticCohorts
from gliolake.process.threads import one_torch_thread
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

if TYPE_CHECKING:
    from distributed import Client

I3D, SLOWFAST = MXNET_NETWORKS
WEIGHTS = f"mxnet/{SLOWFAST}"
UNTRAINED = BackboneOptions(weights="untrained:3", engine="mxnet")
PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of MXNet's environment."""
    found = mxnet_environment().python
    if not found.is_file():
        pytest.skip(f"MXNet's environment is not at {found}: make mxnet builds it")
    return found


@pytest.fixture(scope="module")
def client(python: Path) -> Iterator[Client]:
    """A client of a cluster with one MXNet worker."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with open_mxnet(workers=1) as opened:
        yield opened
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def scan(synthetic: SyntheticCohorts) -> dict[str, str]:
    """The files of a synthetic scan by role."""
    names = {"FLAIR": "flair", "T1": "t1", "T1wCE": "t1ce", "T2": "t2", "mask": "seg"}
    folder = synthetic.brats21_images / "BraTS2021_00000"
    return {role: str(folder / f"BraTS2021_00000_{name}.nii.gz") for role, name in names.items()}


def vectors_of_scan(
    scan: Mapping[str, str], name: str, options: BackboneOptions, branches: tuple[str, ...]
) -> dict[str, Any]:
    """What a worker does with a scan: images, clips, vectors."""
    from gliolake.features.clips import ClipSettings, build_clips
    from gliolake.ingest.readers.nifti import read_volume, turn_to_lps

    stored = {role: read_volume(uri) for role, uri in scan.items()}
    images = {role: turn_to_lps(volume.voxels, volume.affine)[0] for role, volume in stored.items()}
    mask = images.pop("mask")
    box = tuple(int(edge) for at in np.nonzero(mask) for edge in (at.min(), at.max() + 1))
    clips = build_clips(images, box, ClipSettings(), branches)
    return dict(zip(clips, open_backbone(name, options).vectors(list(clips.values())), strict=True))


def on_worker(client: Client, function: Any, *arguments: Any) -> Any:
    """The function's answer from a worker, which has the project and not its tests: it is sent by value."""
    sent = cloudpickle.dumps(partial(function, *arguments))
    resources = {"MXNET": 1}
    loaded = client.submit(cloudpickle.loads, sent, resources=resources, pure=False)
    return client.submit(operator.call, loaded, resources=resources, pure=False).result(timeout=120)


@pytest.mark.long
def test_a_scan_goes_through_real_workers_and_comes_back_with_the_same_bits_twice(
    client: Client, scan: dict[str, str]
) -> None:
    first, second = (on_worker(client, vectors_of_scan, scan, SLOWFAST, UNTRAINED, ("DeltaT1",)) for _ in "ab")
    vector = first["DeltaT1"]
    assert (vector.shape, vector.dtype) == ((400,), np.float32)
    assert np.isfinite(vector).all()
    assert vector.std() > 0.1
    assert vector.tobytes() == second["DeltaT1"].tobytes()


def tamed_logits(name: str, frames_seed: int, save_as: str = "") -> npt.NDArray[np.float32]:
    """What MXNet makes of noise with the untrained weights, scales and variances of the norms halved."""
    backbone = MxnetBackbone(name, "untrained:3")
    network = backbone.module()
    for parameter in {id(value): value for value in network._collect_params_with_prefix().values()}.values():
        if len(parameter.shape) == 1:
            parameter.set_data(parameter.data() / 2)
    if save_as:
        network.save_parameters(save_as)
    return backbone.logits(noise(frames_seed))


def noise(seed: int) -> npt.NDArray[np.float32]:
    return np.random.RandomState(seed).normal(size=(3, 32, 224, 224)).astype(np.float32)


@pytest.mark.parametrize("name", [pytest.param(I3D, marks=pytest.mark.long), SLOWFAST])
def test_mxnet_and_torch_compute_the_same_network(client: Client, name: str) -> None:
    """A seed gives both the same weights, so only the order of sums may differ. With norms that are identities, I3D's
    attention is nearly one-hot and a last bit becomes a percent: that would measure the weights, not the networks."""
    state = untrained_state(empty_network(name), 3)
    for value in {id(value): value for value in state.values()}.values():
        if value.ndim == 1:
            value.div_(2)
    with torch.inference_mode(), one_torch_thread():
        here = load_network(name, state)(torch.from_numpy(noise(7)[None]))[0].numpy()
    there = on_worker(client, tamed_logits, name, 7)
    assert here.std() > 0.01
    assert np.abs(there - here).max() < 1e-4 * here.std()


@pytest.mark.long
def test_weights_that_mxnet_saved_are_added_checked_and_give_the_vectors_of_their_network(
    client: Client, tmp_path: Path
) -> None:
    saved, kept = tmp_path / "saved.params", tmp_path / "kept"
    expected = on_worker(client, tamed_logits, SLOWFAST, 5, str(saved))
    with pytest.raises(InputError, match=r"published weights of mxnet/slowfast\S+ have 9d650f51"):
        add_weights(saved, WEIGHTS, kept)
    with zipfile.ZipFile(tmp_path / "saved.zip", "w") as archive:
        archive.write(saved, "saved-9d650f51.params")
    added = add_weights(tmp_path / "saved.zip", WEIGHTS, kept, any_checksum=True)
    assert added.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert {row.name for row in verify_weights(folder=kept) if row.state == "present"} == {WEIGHTS}
    backbone = MxnetBackbone(SLOWFAST, folder=str(kept))
    assert (backbone.weights, backbone.recipe()["weights"]["sha256"]) == ("trained", added.sha256)

    def logits() -> npt.NDArray[np.float32]:
        return MxnetBackbone(SLOWFAST, folder=str(kept)).logits(noise(5))

    assert on_worker(client, logits).tobytes() == expected.tobytes()
    with pytest.raises(InputError, match=r"saved\.params does not hold the weights of i3d\S+: \d+ tensors differ"):
        add_weights(saved, f"mxnet/{I3D}", kept, any_checksum=True)
    with pytest.raises(InputError, match=r"saved\.params is a file of MXNet's") as caught:
        add_weights(saved, SLOWFAST, kept, any_checksum=True)
    assert f"mxnet/{SLOWFAST}" in caught.value.hint


def packed(name: str, shape: tuple[int, ...], numbers: bytes, kind: int = 0) -> bytes:
    """A ``.params`` file of one array."""
    array = struct.pack(f"<IiI{len(shape)}qiii", 0xF993FAC9, 0, len(shape), *shape, 1, 0, kind) + numbers
    return LIST_MAGIC + struct.pack("<Q", 1) + array + struct.pack("<QQ", 1, len(name)) + name.encode()


def test_a_params_file_that_is_damaged_is_refused_wherever_it_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "file.params"
    whole = packed("bn1.gamma", (2, 1), np.array([1.5, -2], "<f4").tobytes())
    path.write_bytes(whole)
    assert read_params(path)["bn1.weight"].tolist() == [[1.5], [-2.0]]
    spoilt = [whole[:length] for length in range(len(whole))]
    spoilt += [
        whole + b"!",
        packed("a", (1 << 40,), b""),
        packed("a", (60000, 60000), b"1234"),
        packed("a", (1,), b"", 9),
    ]
    for content in spoilt:
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"file\.params \({len(content)} bytes\) is no whole \.params file"):
            read_params(path)


def test_a_seed_draws_the_numbers_that_torch_draws() -> None:
    for name, tensor in untrained_state(empty_network(SLOWFAST), 3).items():
        if not name.endswith(UNUSED):
            drawn = untrained_tensor(shared_name(name), tuple(tensor.shape), 3)
            assert drawn.tobytes() == tensor.numpy().tobytes(), name


def test_a_recipe_names_the_engine_and_is_the_same_on_client_and_worker(client: Client) -> None:
    def recipe() -> dict[str, Any]:
        return open_backbone(SLOWFAST, UNTRAINED).recipe()

    assert recipe() == on_worker(client, recipe)
    assert recipe()["engine"] == "mxnet"
    assert recipe()["versions"] == PINS
    torch = VideoBackbone(SLOWFAST, "untrained:3").recipe()
    assert torch["weights"] == recipe()["weights"]
    assert torch["preprocessing"]["resize"] == recipe()["preprocessing"]["resize"]


def test_the_pins_are_those_that_are_installed_and_dask_is_the_locks() -> None:
    listed, locked = (
        dict(line.split("==") for line in (PROJECT / path).read_text().split() if "==" in line)
        for path in ("deploy/mxnet/requirements.txt", "requirements.lock")
    )
    assert {name: listed[name] for name in PINS} == PINS
    carried = ("dask", "distributed", "cloudpickle", "msgpack", "tornado", "toolz", "tblib", "nibabel", "isal")
    assert {name: listed[name] for name in carried} == {name: locked[name] for name in carried}


def test_a_worker_with_other_versions_is_refused_once_with_the_difference(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_other_pins() -> None:
        engine.PINS["numpy"] = "1.22.0"
        try:
            engine.start_mxnet()
        finally:
            engine.PINS["numpy"] = "1.23.5"

    with pytest.raises(engine.OtherVersions, match=r"has numpy 1\.23\.5, not 1\.22\.0\.") as caught:
        on_worker(client, with_other_pins)
    assert "make mxnet" in caught.value.hint
    missing = r"has mxnet missing, not 1\.9\.1; numpy \S+, not 1\.23\.5"
    with pytest.raises(engine.OtherVersions, match=missing), open_mxnet(workers=1, python=sys.executable):
        pytest.fail("workers of this environment have no MXNet")


def test_networks_that_mxnet_lacks_and_choices_it_has_not_are_refused_by_name() -> None:
    for name in set(VIDEO_NETWORKS) - set(MXNET_NETWORKS):
        with pytest.raises(InputError, match=f"{name} cannot be computed by MXNet") as caught:
            open_backbone(name, UNTRAINED)
        assert f"{I3D} and {SLOWFAST}" in caught.value.hint
    with pytest.raises(InputError, match="in MXNet has no choice of precision"):
        open_backbone(I3D, BackboneOptions(weights="untrained:3", engine="mxnet", precision="bf16"))
    with pytest.raises(InputError, match="random_conv has no choice of engine"):
        open_backbone("random_conv", BackboneOptions(engine="mxnet"))
    with pytest.raises(InputError, match="no engine named 'mxnett'") as caught:
        open_backbone(I3D, BackboneOptions(engine="mxnett"))
    assert "mxnet" in caught.value.hint


def test_where_mxnet_is_not_installed_nothing_is_computed_and_the_remedy_is_named() -> None:
    with pytest.raises(engine.OtherVersions, match=r"mxnet missing, not 1\.9\.1") as caught:
        MxnetBackbone(SLOWFAST, "untrained:0").vectors([np.zeros((40, 128, 128), np.uint8)])
    assert "make mxnet" in caught.value.hint


def test_an_environment_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    absent = tmp_path / "nowhere"
    with pytest.raises(ClusterError, match=f"no {absent} to") as caught, open_mxnet(workers=1, python=absent):
        pytest.fail("there is no such environment")
    assert "make mxnet" in caught.value.hint
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho No module named dask >&2\nexit 1\n")
    broken.chmod(0o755)
    said = f"worker of {broken} did not start. It said: No module named dask"
    with pytest.raises(ClusterError, match=said), open_mxnet(workers=1, python=broken):
        pytest.fail("such workers do not start")
    with pytest.raises(InputError, match="--workers is 0"), open_mxnet(workers=0, python=sys.executable):
        pytest.fail("no workers, no work")


def test_a_running_cluster_is_used_if_it_has_mxnet_workers_and_refused_with_the_command_if_not(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client as Connection
    from distributed import LocalCluster

    files = client.security.get_tls_config_for_role("client")
    names = {"ca_file": "ca_file", "certificate": "cert", "key": "key"}
    settings = tmp_path / "gliolake.toml"
    settings.write_text("[cluster.tls]\n" + "".join(f"{key} = '{files[name]}'\n" for key, name in names.items()))
    settings.chmod(0o600)
    with monkeypatch.context() as with_certificates:
        with_certificates.setenv("GLIOLAKE_CONFIG", str(settings))
        with open_mxnet(client.scheduler_info(n_workers=-1)["address"]) as other:
            assert pool_workers(other, "MXNET") == pool_workers(client, "MXNET")
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as plain, Connection(plain):
        command = f"-m dask worker {plain.scheduler_address} .*--resources MXNET=1"
        refused = pytest.raises(ClusterError, match="has no worker with the resource MXNET")
        with refused as caught, open_mxnet(plain.scheduler_address):
            pytest.fail("it has none")
        assert re.search(command, caught.value.hint)


def test_workers_end_with_the_pool(python: Path) -> None:
    with open_mxnet(workers=1) as opened:
        (number,) = opened.run(os.getpid).values()
        assert Path(f"/proc/{number}").exists()
    assert not Path(f"/proc/{number}").exists()


@pytest.mark.long
def test_extract_with_the_engine_mxnet_fills_the_lake_and_a_second_run_has_nothing_to_do(
    python: Path, world: tuple[Lake, Path], look: Any
) -> None:
    lake, _ = world
    look.keep_scans(lake, "BraTS2021_00000")
    report = extract(lake, [SLOWFAST], options=UNTRAINED, workers=1)
    rows = look.rows(lake, "features")
    assert {row["modality"] for row in rows} == set(BRANCHES)
    assert np.isfinite([row["values"] for row in rows]).all()
    assert report.feature_sets[0].computed == 1
    assert extract(lake, [SLOWFAST], options=UNTRAINED, workers=1).feature_sets[0].present == 1


def test_one_run_has_one_engine(world: tuple[Lake, Path]) -> None:
    with pytest.raises(InputError, match=f"{SLOWFAST} and random_conv are computed by different engines"):
        extract(world[0], [SLOWFAST, "random_conv"], options=UNTRAINED)

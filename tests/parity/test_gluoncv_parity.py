"""GluonCV's networks on today's torch against GluonCV imported the ordinary way on the torch of its time.

``make parity`` builds that environment and sets GLIOLAKE_PARITY to its folder; without it the test is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from gliolake.features.networks.gluon_zoo import FILES, gluon_preprocessing
from gliolake.features.networks.registry import empty_network, load_network
from gliolake.features.weights.untrained import untrained_state

THEN = Path(__file__).with_name("gluoncv_then.py")


@pytest.fixture(scope="module")
def environment() -> Path:
    """The Python of the environment."""
    folder = os.environ.get("GLIOLAKE_PARITY")
    if not folder:
        pytest.skip("needs an environment of 2021; make parity builds it and runs this")
    if not (Path(folder) / "built.txt").exists():
        reason = Path(folder) / "reason.txt"
        pytest.skip(f"the environment was not built: {reason.read_text() if reason.exists() else 'run make parity'}")
    return Path(folder) / "bin" / "python"


def drawn_state(name: str, seed: int) -> dict[str, torch.Tensor]:
    """Weights of a seed whose norms are no identities: scales and variances of 0.5 to 0.7, shifts and means to 0.2.

    So activations stay small. With norms that scale by 1, I3D's grow until its ten attention maps are nearly one-hot,
    and then a last bit at the input is 2 % of the logits: that would measure the weights drawn, not the networks.
    """
    state = untrained_state(empty_network(name), seed)
    generator = torch.Generator().manual_seed(seed)
    for value in {id(value): value for value in state.values()}.values():
        if value.ndim == 1:
            value.mul_(0.5).add_(torch.rand(value.shape, generator=generator), alpha=0.2)
    return state


@pytest.mark.parametrize("name", FILES)
def test_logits_agree_with_gluoncv_of_its_own_time(environment: Path, name: str, tmp_path: Path) -> None:
    state = drawn_state(name, 11)
    size = gluon_preprocessing(name).size
    clip = np.random.default_rng(11).normal(size=(1, 3, 32, size, size)).astype(np.float32)
    torch.save(state, tmp_path / f"{name}.pth", _use_new_zipfile_serialization=False)
    np.save(tmp_path / f"{name}.clip.npy", clip)
    ran = subprocess.run([environment, THEN, tmp_path, name], capture_output=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    versions = json.loads((tmp_path / "versions.json").read_text())
    assert int(versions["torch"].split(".")[0]) == 1
    theirs = np.load(tmp_path / f"{name}.logits.npy")[0]
    with torch.inference_mode():
        ours = load_network(name, state)(torch.from_numpy(clip))[0].numpy()
    difference = np.abs(ours - theirs).max() / theirs.std()
    print(f"\n{name}: largest difference {difference:.1e} of the logits' deviation ({versions})")
    assert theirs.std() > 0.01
    assert difference < 1e-3

"""Clips per second of every network, against plain torch and against the machine's own matrix product: bench-extract.

Each network and way runs in a process of its own, which tells its peak memory; all use the same cores, the same
untrained weights and clips of noise, and their logits are compared. The plain way is float32 torch, one clip at a time
on all cores: with the network kept, and with the network read from its file again for every clip, as the study's
released script does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from telling import tell

from gliolake.features.backbones.inference import has_bf16
from gliolake.features.backbones.registry import VIDEO_NETWORKS
from gliolake.features.backbones.video import VideoBackbone
from gliolake.features.clips import ClipSettings, build_clips
from gliolake.features.networks.frames import prepare
from gliolake.features.networks.registry import NETWORKS, empty_network, load_network
from gliolake.features.weights.untrained import untrained_state
from gliolake.ingest.readers.nifti import read_volume, turn_to_lps
from gliolake.schema.vocabulary import MODALITIES

WEIGHTS = "untrained:0"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Of torch, for each precision."""

STUDY_SECONDS = 7.29
"""For one case, on a desktop of 14 cores (section 4 of Chen et al. 2025)."""


def main() -> None:
    """Run all, or one measurement of one network where a name and a way are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", choices=VIDEO_NETWORKS, help="only this one")
    parser.add_argument("--case", type=Path, help="folder of a BraTS case for the time of one case")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "NETWORK", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, name, file = arguments.measure
        print(json.dumps(WAYS[way](name, Path(file))))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("GLIOLAKE_NETWORKS", str(Path(folder) / "networks"))
        peak = {precision: matrix_peak(DTYPES[precision]) for precision in precisions()}
        rows = [bench(name, peak, Path(folder)) for name in arguments.network or VIDEO_NETWORKS]
        case = one_case(arguments.case, Path(folder)) if arguments.case else {}
    if arguments.json:
        print(json.dumps({"matrix_product_gflops": peak, "networks": rows, "case": case}))
    else:
        show(peak, rows, case)


def precisions() -> list[str]:
    """What this processor has arithmetic of."""
    return [*DTYPES] if has_bf16() else ["fp32"]


def matrix_peak(dtype: torch.dtype, edge: int = 4096) -> float:
    """GFLOP/s of torch's product of two square matrices on all cores, the best of five."""
    left, right = (torch.randn(edge, edge).to(dtype) for _ in range(2))
    return 2 * edge**3 / min(timed(lambda: left @ right) for _ in range(5)) / 1e9


def bench(name: str, peak: dict[str, float], folder: Path) -> dict[str, Any]:
    """All ways of one network. The weights' file for the plain way is written first."""
    file = folder / f"{name}.pth"
    torch.save(untrained_state(empty_network(name), 0), file)
    found: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        if way in DTYPES and way not in peak:
            continue
        tell(f"{name}: {way}")
        command = [sys.executable, __file__, "--measure", way, name, str(file)]
        found[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
    file.unlink()
    operations = counted_operations(name)
    row: dict[str, Any] = {"network": name, "gflop": operations / 1e9}
    row["making"] = {key: found["making"][key] for key in ("seconds", "peak_gib")}
    for precision, most in peak.items():
        row["ready_seconds"] = found[precision]["ready"]
        seconds = found[precision]["seconds"]
        logits, plain = np.array(found[precision]["logits"]), np.array(found["plain kept"]["logits"])
        row[precision] = {
            "clips_per_second": 1 / seconds,
            "times_plain_rebuilt": found["plain rebuilt"]["seconds"] / seconds,
            "times_plain_kept": found["plain kept"]["seconds"] / seconds,
            "share_of_peak": operations / seconds / 1e9 / most,
            "peak_gib": found[precision]["peak_gib"],
            "correlation_with_plain": float(np.corrcoef(logits, plain)[0, 1]),
        }
    row["plain_seconds"] = {way: found[f"plain {way}"]["seconds"] for way in ("rebuilt", "kept")}
    row["plain_peak_gib"] = found["plain kept"]["peak_gib"]
    return row


def counted_operations(name: str) -> float:
    """Multiplications and additions of convolutions and matrix products for one clip, attention included."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    wanted = NETWORKS[name].preprocessing
    clip = torch.empty(1, 3, wanted.frames, wanted.size, wanted.size, device="meta")
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        empty_network(name).eval()(clip)
    return float(counter.get_total_flops())


def making(name: str, _: Path) -> dict[str, Any]:
    """The conversion, which happens once for each set of weights."""
    return told(timed(VideoBackbone(name, WEIGHTS).module), np.zeros(0), 0.0)


def ours(precision: str) -> Callable[[str, Path], dict[str, Any]]:
    """As extraction computes: the kept network, as many clips at once as there are cores."""

    def measure(name: str, _: Path) -> dict[str, Any]:
        backbone = VideoBackbone(name, WEIGHTS, precision=precision)
        ready = timed(backbone.module)
        films = clips(2 * backbone.module().streams)
        logits = backbone.vectors(films)
        return told(timed(lambda: backbone.vectors(films)) / len(films), logits[0], ready)

    return measure


def plain(*, rebuilt: bool) -> Callable[[str, Path], dict[str, Any]]:
    """As a script would: float32 torch, one clip after the other."""

    def measure(name: str, file: Path) -> dict[str, Any]:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        kept = None if rebuilt else load_network(name, torch.load(file, weights_only=True))

        def one(clip: np.ndarray) -> np.ndarray:
            network = kept or load_network(name, torch.load(file, weights_only=True))
            frames = torch.from_numpy(prepare(clip, NETWORKS[name].preprocessing))
            with torch.inference_mode():
                logits: np.ndarray = network(frames[None])[0].numpy()
            return logits

        film = clips(1)[0]
        logits = one(film)
        return told(min(timed(lambda: one(film)) for _ in range(2)), logits, 0.0)

    return measure


WAYS = {
    "making": making,
    "fp32": ours("fp32"),
    "bf16": ours("bf16"),
    "plain kept": plain(rebuilt=False),
    "plain rebuilt": plain(rebuilt=True),
}


def told(seconds: float, logits: np.ndarray, ready: float) -> dict[str, Any]:
    """What a measuring process prints."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "logits": logits.tolist(), "ready": ready, "peak_gib": peak}


def clips(number: int) -> list[np.ndarray]:
    """Clips of the study's size, of noise."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (150, 128, 128), dtype=np.uint8) for _ in range(number)]


def one_case(folder: Path, _: Path) -> dict[str, float]:
    """Seconds from five NIfTI files to 5 × 400 numbers of ViViT B, the network being loaded."""
    paths = {role: folder / f"{folder.name}_{role}.nii.gz" for role in ("flair", "t1", "t1ce", "t2", "seg")}

    def volume(role: str) -> np.ndarray:
        read = read_volume(str(paths[role]))
        return turn_to_lps(read.voxels, read.affine)[0]

    def features(backbone: VideoBackbone) -> None:
        mask = volume("seg")
        box = [int(edge) for at in np.nonzero(mask) for edge in (at.min(), at.max() + 1)]
        images = dict(zip(MODALITIES, map(volume, ("flair", "t1", "t1ce", "t2")), strict=True))
        films = build_clips(images, box, ClipSettings())
        assert backbone.vectors(list(films.values())).shape == (5, 400)

    seconds = {}
    for precision in precisions():
        backbone = VideoBackbone("vivit_b_16x2", WEIGHTS, precision=precision)
        backbone.module()
        seconds[precision] = timed(lambda backbone=backbone: features(backbone))
    return seconds


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def show(peak: dict[str, float], rows: list[dict[str, Any]], case: dict[str, float]) -> None:
    """Print a table for people."""
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores; product of 4096 × 4096 matrices: ", end="")
    print(", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in peak.items()))
    heads = f"{'clips/s':>9}{'× rebuilt':>11}{'× kept':>8}{'of peak':>9}{'GiB':>6}{'corr.':>10}"
    print(f"{'network (untrained)':38}{'':6}{heads}")
    for row in rows:
        for precision in peak:
            figures = row[precision]
            print(
                f"{row['network']:38}{precision:6}{figures['clips_per_second']:9.2f}"
                f"{figures['times_plain_rebuilt']:11.1f}{figures['times_plain_kept']:8.1f}"
                f"{figures['share_of_peak']:9.0%}{figures['peak_gib']:6.1f}{figures['correlation_with_plain']:10.6f}"
            )
        plain_seconds = row["plain_seconds"]
        print(
            f"{'':38}plain: {plain_seconds['rebuilt']:.2f} s a clip rebuilt, {plain_seconds['kept']:.2f} kept, "
            f"{row['plain_peak_gib']:.1f} GiB; {row['gflop']:.0f} GFLOP a clip; converted once in "
            f"{row['making']['seconds']:.0f} s, {row['making']['peak_gib']:.1f} GiB, then ready in "
            f"{row['ready_seconds']:.1f} s"
        )
    for precision, seconds in case.items():
        told_as = f"One case, five NIfTI files to 5 × 400 ViViT B, {precision}"
        print(f"{told_as}: {seconds:.1f} s (the study: {STUDY_SECONDS} s)")


if __name__ == "__main__":
    main()

"""Seconds of processor time that random convolutions take for a clip of the study's size: 0.5 at most."""

from __future__ import annotations

import time

import numpy as np

from gliolake.features.backbones.random_conv import RandomConv


def main() -> None:
    """Print the seconds; the exit code is 1 where they are more than half a second."""
    clip = np.random.default_rng(0).integers(0, 256, (150, 128, 128), dtype=np.uint8)
    backbone = RandomConv(0)
    backbone.vectors([clip[:40, :40, :40]])  # compiles
    began = time.thread_time()
    backbone.vectors([clip])
    seconds = time.thread_time() - began
    print(f"{seconds:.2f} s of processor time for a clip of 150 × 128 × 128")
    raise SystemExit(seconds > 0.5)


if __name__ == "__main__":
    main()

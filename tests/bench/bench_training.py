"""How long 20 fits of the Siamese network take, and how much faster that is than training them one by one.

    python tests/bench/bench_training.py [--json]

The batched run is timed whole: 462 scans of 5 x 400 random numbers, 4 x 5 folds, 200 epochs, nothing stopped early,
validation and test parts looked at after every epoch. Its rival is the same network in plain torch.nn modules, trained
one fold and one scan at a time; it is timed on some scans and scaled to the same number of steps and looks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from telling import tell

from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.crossval import cross_validate
from gliolake.modeling.models.settings import defaults

sys.path.append(str(Path(__file__).parents[2]))
from tests.support.plain_siamese import PlainSNN

SCANS, REPEATS, FOLDS = 462, 4, 5


def synthetic(scans: int) -> Scans:
    """Random vectors and labels in the shape of the study's."""
    stream = np.random.default_rng(0)
    values = stream.standard_normal((scans, 5, 400), np.float32)
    return Scans(values, np.arange(scans) % 2 == 0, np.array([f"patient {i}" for i in range(scans)]))


def batched_seconds(model: str, epochs: int) -> tuple[float, float]:
    """Seconds for all fits together, by the clock and of processor time."""
    settings = replace(defaults(model), epochs=epochs, patience=epochs)
    start, used = time.perf_counter(), time.process_time()
    cross_validate(synthetic(SCANS), model, settings=settings, repeats=REPEATS, folds=FOLDS)
    return time.perf_counter() - start, time.process_time() - used


def rival_seconds_per_scan(scans: int) -> tuple[float, float]:
    """Median seconds per scan of training (forward, backward, step) and of looking, for the plain network.

    On one thread, on which work this small is fastest; the median leaves out what else the machine was doing.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = PlainSNN()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    data = torch.from_numpy(synthetic(scans + 20).values)
    present = torch.ones(1, 5, dtype=torch.bool)
    label = torch.tensor([1.0])

    def train(one: torch.Tensor) -> None:
        logit, _ = network(one[None], present)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def look(one: torch.Tensor) -> None:
        with torch.no_grad():
            network(one[None], present)

    seconds = []
    for work in (train, look):
        network.train(work is train)
        for one in data[:20]:
            work(one)
        taken = []
        for one in data[20:]:
            start = time.perf_counter()
            work(one)
            taken.append(time.perf_counter() - start)
        seconds.append(float(np.median(taken)))
    return seconds[0], seconds[1]


def measure(epochs: int = 200, rival_scans: int = 400) -> dict[str, float | str]:
    """All figures. The first batched run, of one epoch, pays for compilation and is not counted."""
    batched_seconds("snn", 1)
    train, look = rival_seconds_per_scan(rival_scans)
    total, used = batched_seconds("snn", epochs)
    fits = REPEATS * FOLDS
    test = SCANS / FOLDS
    validation = 0.2 * (SCANS - test)
    rival = fits * epochs * ((SCANS - test - validation) * train + (validation + test) * look)
    return {
        "fits": fits,
        "epochs": epochs,
        "scans": SCANS,
        "seconds": round(total, 2),
        "processor_seconds": round(used, 2),
        "rival_seconds": round(rival, 1),
        "ratio": round(rival / total, 1),
        "rival_ms_per_training_scan": round(train * 1e3, 3),
        "timed": f"batched: the whole run; rival: {rival_scans} scans trained and looked at one by one, scaled",
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--epochs", type=int, default=200)
    arguments = parser.parse_args()
    tell("measuring: 20 fits together, and single ones")
    figures = measure(arguments.epochs)
    if arguments.json:
        print(json.dumps(figures))
        return
    what = f"{figures['fits']} SNN fits, {figures['scans']} x 5 x 400, {figures['epochs']} epochs"
    print(f"{what}: {figures['seconds']} s ({figures['processor_seconds']} s of processor time)")
    print(f"one fold and one scan at a time, plain torch: {figures['rival_seconds']} s")
    print(f"ratio: {figures['ratio']} ({figures['timed']})")


if __name__ == "__main__":
    main()

"""A synthetic brain with a tumour: four modalities and a mask, from a few parameters and a seed.

It is no model of anything. It has what the programs downstream look at: an ellipsoid of mottled tissue on black, a
tumour of oedema, enhancing rim and necrotic core with the contrasts a radiologist expects of each modality, and per
session a gain, a bias field and noise. The MGMT signal, where there is one, is the mottling of oedema and rim:
stronger in methylated tumours, weaker in the others. Neither the tumour's size and place nor the gain tell of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]

SHAPE = (144, 144, 40)
SPACING_MM = (1.5, 1.5, 3.5)
"""A field of 216 × 216 × 140 mm holds the head; the box of 128 voxels at a tumour's corner often leaves it."""

BRAIN_MM = (68.0, 84.0, 60.0)
"""Half axes of the brain."""

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
"""Labels of the BraTS mask: necrotic core, peritumoural oedema, enhancing tumour."""

TISSUES = ("white", "grey", "csf", "oedema", "rim", "core")
CONTRAST: dict[str, tuple[float, ...]] = {
    "FLAIR": (480, 540, 300, 850, 760, 480),
    "T1": (700, 630, 400, 490, 520, 380),
    "T1wCE": (700, 640, 410, 510, 1100, 380),
    "T2": (440, 510, 900, 820, 700, 900),
}
"""Mean intensity of each tissue in each modality, before gain."""

QUIET, LOUD = 0.05, 0.40
"""Mottling of the tumour, relative to its mean: what all have, and the difference that a signal of 1 makes."""

VISIBILITY = {"FLAIR": 1.0, "T1": 0.6, "T1wCE": 1.2, "T2": 1.0}
"""How much of the mottling each modality shows; unequal in T1 and T1wCE, so that it shows in their difference too."""


@dataclass(frozen=True)
class Anatomy:
    """What stays with a patient. ``seed`` draws tumour and tissue; ``methylated`` shows as much as ``signal`` says."""

    seed: tuple[int, ...]
    methylated: bool
    signal: float


def make_scan(
    anatomy: Anatomy, session: tuple[int, ...]
) -> tuple[dict[str, npt.NDArray[np.int16]], npt.NDArray[np.uint8]]:
    """The modalities, int16, and the mask, uint8, of one imaging session, all of ``SHAPE``, in LPS.

    Args:
        anatomy: The patient.
        session: Seed of what changes from one session to the next: gain, bias field, noise.
    """
    patient = np.random.default_rng(anatomy.seed)
    head = _window()
    grid = _millimetres()
    brain = sum((axis / half) ** 2 for axis, half in zip(grid, BRAIN_MM, strict=True)) <= 1
    distance, sizes = _tumour(patient, grid)
    tissue, tumour = _tissue_maps(patient, brain, distance, sizes)
    mottling = tumour * _mottling(anatomy, patient)

    visit = np.random.default_rng(session)
    images = {}
    for modality, means in CONTRAST.items():
        image = np.array(means, np.float32)[tissue]
        image *= 1 + np.float32(0.05) * _drawn(patient, "coarse")
        image *= 1 + np.float32(VISIBILITY[modality]) * mottling
        image *= 1 + np.float32(0.08) * _drawn(visit, "smooth")
        image += np.float32(visit.uniform(8, 14)) * _drawn(visit, "white")
        image *= np.float32(visit.uniform(0.7, 1.5))
        whole = np.zeros(SHAPE, np.int16)
        whole[head] = np.where(brain, np.clip(np.rint(image), 1, 32767), 0)
        images[modality] = whole
    mask = np.zeros(SHAPE, np.uint8)
    mask[head] = np.array([0, 0, 0, OEDEMA, ENHANCING, NECROSIS], np.uint8)[tissue] * brain
    return images, mask


def _mottling(anatomy: Anatomy, draw: np.random.Generator) -> Field:
    """Relative deviation of the tumour's intensity: methylated ones are louder, all of it in the coarser pattern."""
    towards = anatomy.signal * (0.5 if anatomy.methylated else -0.5)
    quiet = np.float32(QUIET) * _drawn(draw, "fine")
    loud = np.float32(QUIET + LOUD * max(0.0, 0.5 + towards)) * _drawn(draw, "middle")
    return np.float32(draw.normal(1.0, 0.15)) * (quiet + loud)


def _tumour(draw: np.random.Generator, grid: list[Any]) -> tuple[Field, tuple[float, float, float]]:
    """Distance from the tumour's centre in mm, made uneven, and the radii of core, rim and oedema."""
    centre = draw.uniform(-1, 1, 3) * np.array([34.0, 40.0, 20.0])
    core = draw.uniform(7, 11)
    radii = core, core + draw.uniform(5, 7), core + draw.uniform(19, 23)
    squares = sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True))
    distance = np.sqrt(squares, dtype=np.float32)
    return distance * (1 + np.float32(0.12) * _drawn(draw, "smooth")), radii


def _tissue_maps(
    draw: np.random.Generator, brain: npt.NDArray[np.bool_], distance: Field, radii: tuple[float, float, float]
) -> tuple[npt.NDArray[np.int8], Field]:
    """Index into ``TISSUES`` of every voxel, and 1 where the tumour's mottling shows (oedema and rim), else 0."""
    folds = _drawn(draw, "coarse")
    tissue = np.where(folds > 0.3, 1, 0).astype(np.int8)
    tissue[folds > 2.2] = 2
    core, rim, oedema = radii
    for index, radius in ((3, oedema), (4, rim), (5, core)):
        tissue[brain & (distance < radius)] = index
    return tissue, ((tissue == 3) | (tissue == 4)).astype(np.float32)


def _window() -> tuple[slice, ...]:
    """The part of the grid that the brain lies in: nothing is computed outside it."""
    edges = [int(half / mm) + 1 for half, mm in zip(BRAIN_MM, SPACING_MM, strict=True)]
    return tuple(slice(size // 2 - edge, size // 2 + edge + 1) for size, edge in zip(SHAPE, edges, strict=True))


def _millimetres() -> list[Any]:
    """Open grid of the window: distance from the centre of the brain along each axis."""
    axes = []
    for axis, (part, size, mm) in enumerate(zip(_window(), SHAPE, SPACING_MM, strict=True)):
        along = [1, 1, 1]
        along[axis] = -1
        axes.append(((np.arange(part.start, part.stop) - size // 2) * mm).astype(np.float32).reshape(along))
    return axes


GRAIN_MM = {"white": 0.0, "fine": 1.2, "middle": 2.2, "coarse": 3.5, "smooth": 25.0}
"""Width of the Gaussian that a noise field is smoothed by."""


def _drawn(draw: np.random.Generator, grain: str) -> Field:
    """A field of mean 0 and variance 1 on the window: one of the bank, shifted and mirrored at random."""
    bank = _bank(grain)
    field = bank[int(draw.integers(len(bank)))]
    field = np.roll(field, [int(draw.integers(size)) for size in field.shape], axis=(0, 1, 2))
    return field[tuple(slice(None, None, int(draw.choice([-1, 1]))) for _ in range(3))]


@lru_cache(maxsize=8)
def _bank(grain: str) -> tuple[Field, ...]:
    """Six periodic noise fields of a grain. Making one costs a Fourier transform, shifting one hardly anything."""
    shape = tuple(part.stop - part.start for part in _window())
    draw = np.random.default_rng([20, sorted(GRAIN_MM).index(grain)])
    waves = [np.fft.fftfreq(size, mm) for size, mm in zip(shape, SPACING_MM, strict=True)]
    squares = sum(wave**2 for wave in np.meshgrid(*waves, indexing="ij", sparse=True))
    damping = np.exp(-2 * (np.pi * GRAIN_MM[grain]) ** 2 * squares)
    fields = []
    for _ in range(6):
        smooth = np.fft.ifftn(np.fft.fftn(draw.standard_normal(shape)) * damping).real
        fields.append(((smooth - smooth.mean()) / smooth.std()).astype(np.float32))
    return tuple(fields)

"""How a session is preprocessed: which of the study's steps, with what numbers, and the recipe that records them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from gliolake.errors import InputError, check_choice
from gliolake.ingest.cohorts.description import CLIP_STEPS, STEPS
from gliolake.ingest.readers.nifti import read_volume

REVISION = 1
"""Part of every recipe: raised when preprocessing comes to compute other voxels from the same settings."""


class RegistrationFailed(InputError):
    """Two images of a session, or a session and the template, do not come to lie on each other."""


@dataclass(frozen=True)
class PreprocessSettings:
    """Which steps are done to a session, and how. All of it goes into the recipe of what is computed from the result.

    Attributes:
        steps: Some of ``STEPS``. Whatever their order here, they are done in that of ``STEPS``.
        template: Path of the image that ``coregister`` deforms the session to.
        spacing_mm: Edge of the cubic voxels that ``resample`` makes.
        size: Voxels along x, y and z that ``fit`` crops and pads to.
        bias_iterations: Most iterations of N4 at each of its resolutions.
        bias_grid_mm: N4 estimates the field on voxels of about this size.
        denoise_iterations, denoise_time_step: Of the curvature flow; steps above 1/16 are unstable in 3-D.
        align_grid_mm: Voxels on which transforms are sought at the finest level.
        sampled: Share of those voxels that the mutual information is computed from.
        control_points_mm: Distance of the control points of the deformation.
        seed: Of the choice of those voxels.

    Raises:
        InputError: on construction, for a step that does not exist, ``coregister`` without a template, or a number
            outside its range.
    """

    steps: tuple[str, ...] = tuple(step for step in STEPS if step != "coregister")
    template: str = ""
    spacing_mm: float = 1.0
    size: tuple[int, int, int] = (240, 240, 150)
    bias_iterations: tuple[int, ...] = (40, 40, 30)
    bias_grid_mm: float = 4.0
    denoise_iterations: int = 5
    denoise_time_step: float = 0.0625
    align_grid_mm: float = 2.0
    sampled: float = 0.2
    control_points_mm: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        for step in self.steps:
            check_choice("preprocessing step", step, STEPS)
        object.__setattr__(self, "steps", tuple(step for step in STEPS if step in self.steps))
        if ("coregister" in self.steps) != bool(self.template):
            raise InputError(
                "The step coregister and a template belong together, and only one of them is given.",
                hint="Name the template's file, or leave the step out.",
            )
        lengths = (self.spacing_mm, self.bias_grid_mm, self.align_grid_mm, self.control_points_mm)
        if not (all(0.1 <= length <= 200 for length in lengths) and all(1 <= voxels <= 1024 for voxels in self.size)):
            raise InputError(
                f"Voxels of {self.spacing_mm} mm, {self.size} of them, or distances {lengths[1:]} are out of range.",
                hint="The study has voxels of 1 mm, 240 × 240 × 150 of them.",
            )
        if not (0 < self.sampled <= 1 and 0 < self.denoise_time_step <= 0.0625 and self.denoise_iterations >= 1):
            raise InputError(
                f"A sampled share of {self.sampled}, a time step of {self.denoise_time_step} or "
                f"{self.denoise_iterations} iterations are out of range.",
                hint="The share is above 0 and at most 1, the time step at most 0.0625, iterations at least 1.",
            )

    def without(self, done: Iterable[str]) -> PreprocessSettings:
        """The settings for a cohort that says which steps were done to it already, so that none is done twice."""
        done = tuple(done)
        for step in done:
            check_choice("preprocessing step", step, STEPS)
        left = tuple(step for step in self.steps if step not in done)
        return replace(self, steps=left, template=self.template if "coregister" in left else "")

    @property
    def beyond_clips(self) -> bool:
        """Whether any step is left that cutting a clip does not do anyway."""
        return not CLIP_STEPS.issuperset(self.steps)

    def recipe(self) -> dict[str, Any]:
        """The settings as JSON values; the template by its content, not by where it lies."""
        recipe = {"revision": REVISION, "simpleitk": version("simpleitk"), **asdict(self)}
        del recipe["template"]
        if self.template:
            recipe["template_sha256"] = read_volume(self.template).sha256
        return recipe


def settings_of(skip: Collection[str] = (), template: str = "") -> PreprocessSettings:
    """The study's settings without some steps, and with co-registration where there is a template.

    Raises:
        InputError: there is no such step, or coregister is skipped and a template given.
    """
    for step in skip:
        check_choice("preprocessing step", step, STEPS)
    steps = tuple(step for step in STEPS if step not in skip and (template or step != "coregister"))
    return PreprocessSettings(steps=steps, template=template)

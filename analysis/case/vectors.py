"""Vectors of a case, computed only by the recipes that the model was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np

from gliolake.analysis.case.images import CaseImages
from gliolake.errors import GliolakeError, InputError
from gliolake.features.backbones.registry import BACKBONES, BackboneOptions
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.preflight import expect
from gliolake.features.extraction.recipe import Choice, make_recipe
from gliolake.features.extraction.scan_task import ScanFile, ScanTask, Wanted, compute, possible_branches
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.ingest.cohorts.description import CLIP_STEPS
from gliolake.ingest.scans.images import REFERENCE
from gliolake.modeling.export.description import Description
from gliolake.modeling.models.problem import modality_of
from gliolake.process.signals import temporary_folder
from gliolake.schema.vocabulary import FEATURE_LENGTH


class OtherRecipe(GliolakeError):
    """Here the case would be turned into vectors by another recipe than the model was trained on."""


def own_recipes(description: Description) -> dict[str, tuple[Choice, ClipSettings]]:
    """By feature set, the backbone and the clips by which this machine makes vectors of the model's recipe.

    Raises:
        InputError: the vectors were not made from images, or what makes them cannot be had here.
        OtherRecipe: what can be had makes others; the message names every difference.
    """
    return {one["feature_set"]: _own_recipe(one) for one in description.feature_sets}


def _own_recipe(one: Mapping[str, Any]) -> tuple[Choice, ClipSettings]:
    name, backbone, recipe = one["feature_set"], one["backbone"], one["recipe"]
    network, clip = recipe.get("network"), recipe.get("clip")
    if not (isinstance(network, dict) and isinstance(clip, dict)):
        raise InputError(
            f"The model was trained on {name}, vectors ({one['weights']}) that came without the recipe by which they "
            "were made from images. So no vector of a case would be of their kind.",
            hint="Ask a model that was trained on vectors from gliolake extract.",
        )
    if backbone not in BACKBONES:
        raise InputError(f"The model was trained on vectors of {backbone}, which this gliolake does not have.")
    if network.get("engine") == "mxnet":
        raise InputError(
            f"The vectors of {name} are computed by MXNet, in an environment of its own that predict does not open.",
            hint="Ask a model that was trained on vectors by OpenVINO.",
        )
    known = {field.name for field in fields(ClipSettings)}
    try:
        settings = ClipSettings(**{key: value for key, value in clip.items() if key in known})
        choice = Choice(backbone, _options(backbone, network))
        here = json.loads(make_recipe(choice.open(), settings, str(recipe.get("volumes", ""))).text)
    except TypeError as error:  # a number where a text should be, or the other way round
        raise InputError(f"The recipe of {name} is none that can be followed: {error}.") from error
    _refuse(_differences(recipe, here), "Vectors made here", f"those of {name}, on which the model was trained")
    return choice, settings


def _options(backbone: str, network: Mapping[str, Any]) -> BackboneOptions:
    """The options by which a network of a recipe is opened again."""
    if backbone == "random_conv":
        return BackboneOptions(seed=network.get("seed", 0))
    weights = network.get("weights")
    seed = weights.get("untrained_seed") if isinstance(weights, dict) else None
    usual = BackboneOptions()
    return BackboneOptions(
        weights=None if seed is None else f"untrained:{seed}",
        sampling=str(network.get("sampling", usual.sampling)),
        precision=str(network.get("precision", usual.precision)),
        engine=str(network.get("engine", usual.engine)),
    )


def _refuse(lines: Sequence[str], what: str, those: str) -> None:
    """Raises OtherRecipe where there are lines."""
    if lines:
        raise OtherRecipe(
            f"{what} would not be {those}:" + "".join(f"\n  {line}" for line in lines),
            hint="Install what the model names, or export a model that was trained with what is here.",
        )


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    model, here = dict(_leaves("", theirs)), dict(_leaves("", ours))
    return [
        f"{key}: {model.get(key, 'nothing')} in the model, {here.get(key, 'nothing')} here"
        for key in sorted(model.keys() | here.keys())
        if model.get(key) != here.get(key)
    ]


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(f"{name}.{key}".lstrip("."), part)
    else:
        yield name, json.dumps(value, sort_keys=True, ensure_ascii=False)


@contextmanager
def ready(case: CaseImages, description: Description) -> Iterator[CaseImages]:
    """The case as clips are cut from it: as it came, or preprocessed as raw training scans were, in a folder that goes.

    Raises:
        InputError: the case is raw and the model was trained on none, or it cannot be preprocessed.
    """
    if case.cohort is None or not case.cohort.raw:
        yield case
        return
    settings = _preprocessing(case, description)
    if CLIP_STEPS.issuperset(settings.steps):
        yield case
        return
    from gliolake.features.preprocessing.task import SessionTask, preprocess_session

    files = tuple((file["role"], file["uri"], file["sha256"]) for file in case.files)
    done = preprocess_session(SessionTask("case", case.name, files, case.tumour_box, settings, "", ""))
    if done.reason:
        raise InputError(f"The case cannot be preprocessed: {done.detail}", hint="Look at its images and its mask.")
    with temporary_folder("case") as folder:
        kept = []
        for volume in done.volumes:
            path = folder / f"{volume.role}.nii"
            path.write_bytes(volume.nifti)
            kept.append({"role": volume.role, "uri": str(path), "sha256": volume.sha256})
        yield replace(case, files=tuple(kept), tumour_box=done.tumour_box)


def _preprocessing(case: CaseImages, description: Description) -> PreprocessSettings:
    """What is left to do of the steps that the model's training scans have seen."""
    if not description.volumes:
        raise InputError(
            f"{case.name} is raw, and the model was trained on scans that came ready.",
            hint="Preprocess it as its training cohorts were, and describe it without [preprocessing].",
        )
    if len(description.volumes) > 1 or REFERENCE in case.missing:
        raise InputError(
            f"{case.name} is raw and cannot be preprocessed: "
            + (f"it has no {REFERENCE}." if REFERENCE in case.missing else "the model knows several ways to do so.")
        )
    ((name, recipe),) = description.volumes.items()
    if "template_sha256" in recipe:
        raise InputError("The model's scans were co-registered to a template, which does not come with a model.")
    known = {field.name for field in fields(PreprocessSettings)}
    try:
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in recipe.items() if key in known
        }
        settings = PreprocessSettings(**given)
    except TypeError as error:
        raise InputError(f"The recipe of volumes {name} is none that can be followed: {error}.") from error
    _refuse(_differences(recipe, settings.recipe()), "Scans preprocessed here", "those that the model was trained on")
    return settings.without(case.cohort.done if case.cohort and case.cohort.done else ())


def case_vectors(
    case: CaseImages, description: Description, recipes: Mapping[str, tuple[Choice, ClipSettings]]
) -> np.ndarray:
    """The vectors (K, 400) float32 of a case, in the order of the model's branches, NaN in those that it lacks.

    Raises:
        InputError: a vector cannot be computed, or the case has nothing that the model reads.
        ClusterError: a network cannot be loaded.
    """
    files = tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in case.files)
    by_feature = description.told.delta == "feature"
    read = {modality_of(name) for name in description.branches}
    made_of = (read - {"DeltaT1"}) | {"T1", "T1wCE"} if by_feature and "DeltaT1" in read else read
    possible = possible_branches(files)
    wanted = tuple(branch for branch in possible if branch in made_of)
    if read.isdisjoint(possible):
        there = ", ".join(file.role for file in files)
        raise InputError(f"The model reads {description.reads}; the case has only {there}.")
    vectors: dict[str, np.ndarray] = {}
    for name, (choice, settings) in recipes.items():
        task = ScanTask("case", case.name, files, case.tumour_box, (Wanted(name, choice, wanted),))
        outcome = compute(task, expect((choice,), settings))
        if failure := outcome.failures.get(name):
            raise InputError(f"{case.name} cannot be turned into vectors: {failure.detail}")
        own = dict(outcome.vectors[name])
        if by_feature and own.keys() >= {"T1", "T1wCE"}:
            own["DeltaT1"] = own["T1wCE"] - own["T1"]
        vectors |= own if len(recipes) == 1 else {f"{name}:{branch}": vector for branch, vector in own.items()}
    nothing = np.full(FEATURE_LENGTH, np.nan, np.float32)
    return np.stack([vectors.get(name, nothing) for name in description.branches]).astype(np.float32)

"""`gliolake predict`: from the files of one case to the prediction of an exported model, on a page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from gliolake.analysis.case.answer import Answer, Share
from gliolake.analysis.case.images import CaseImages, read_case
from gliolake.analysis.case.page import check_output, write_page
from gliolake.analysis.case.vectors import case_vectors, own_recipes, ready
from gliolake.errors import InputError
from gliolake.log.progress import track
from gliolake.modeling.export.model import Model, load_model
from gliolake.modeling.models.problem import modality_of


def predict(
    folder: Path,
    model: Path,
    *,
    mask: Path | None = None,
    box: Sequence[int] | None = None,
    cohort: str | None = None,
    linked: bool = False,
    output: Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Answer:
    """What a model says of the case in a folder.

    Args:
        folder, mask, box, cohort, linked: see ``gliolake.analysis.case.images.read_case``.
        model: folder of an exported model.
        output: path, without their endings, of the page and the picture that show it; None for neither.
        overwrite: replace those of an earlier answer that are there.
        progress: show a progress bar on standard error.

    Raises:
        InputError: an image cannot be used, the case has nothing that the model reads, or a file may not be written.
        NotAModel, NewerModel, DamagedFile: the model cannot be used.
        OtherRecipe: its vectors cannot be made here.
    """
    asked = load_model(model)
    if output and output.absolute().parent.resolve() == model.resolve():
        raise InputError(f"{model} is the model's folder, and holds nothing else.", hint="Give another --output.")
    target = check_output(output, overwrite=overwrite) if output else None
    recipes = own_recipes(asked.description)
    case = read_case(folder, mask=mask, box=box, cohort=cohort, linked=linked)
    bar = track(f"asking about {case.name}", 3) if progress else nullcontext(lambda: None)
    with bar as advance, ready(case, asked.description) as as_cut:
        advance()
        values = case_vectors(as_cut, asked.description, recipes)
        advance()
        answer = ask(asked, values, case)
        settings = next(iter(recipes.values()))[1]
        pages = write_page(answer, as_cut, settings, target, overwrite=overwrite) if target else ()
        advance()
    return replace(answer, pages=pages)


def ask(model: Model, values: np.ndarray, case: CaseImages) -> Answer:
    """What a model says of a case with these vectors (K, 400), NaN in a missing branch; at least one is there."""
    there = np.isfinite(values).all(-1) & model.fitted.shown
    if not there.any():
        raise InputError(f"{case.name} has nothing that the model was shown when it was tested.")
    names = np.array([modality_of(name) for name in model.description.branches])
    modalities = list(dict.fromkeys(names.tolist()))
    without = np.stack([np.where((names == one)[:, None], np.float32(np.nan), values) for one in modalities])
    told = model.fitted.predict(np.concatenate((values[None], without)))
    surroundings = model.reference.look(values)
    counted = surroundings.fits if surroundings.fits.any() else np.ones(model.fitted.count, np.bool_)
    whole, *rest = model.recalibration.moved(told.probability[counted]).T
    shares = []
    for one, left in zip(modalities, rest, strict=True):
        own = there & (names == one)
        part = None
        if own.any() and told.attention is not None:
            part = told.attention[counted, 0][:, own].sum(1)
        elif own.any() and (there & ~own).any():  # without its only modality nothing could be said
            part = whole - left
        shares.append(Share(one) if part is None else Share(one, float(part.mean()), float(part.std())))
    return Answer(
        case, model, model.recalibration.estimate(told.probability[:, 0], counted), int(counted.sum()), tuple(shares),
        told.attention is not None, surroundings,
    )  # fmt: skip

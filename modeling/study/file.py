"""A study: a TOML file of named experiments, and of published figures to compare them with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from gliolake.errors import check_choice
from gliolake.modeling.data.inputs import EXTERNAL_VIEWS
from gliolake.modeling.evaluation.crossval import SPLITS
from gliolake.modeling.experiment import Experiment
from gliolake.modeling.models.harmonisation import METHODS
from gliolake.modeling.models.settings import DEFAULTS, Settings, defaults
from gliolake.schema.vocabulary import BRANCHES, LABEL_RULES
from gliolake.toml_file import (
    Check,
    Positive,
    SomeTexts,
    Table,
    Texts,
    Wrong,
    at_least,
    load_toml,
    one_of,
    read_table,
    some_of,
    text_of,
)

SHIPPED = "study.toml"
"""The file that comes with gliolake: Chen, Wang and Yang 2025."""

FIGURES = ("auc", "auc_sem", "precision", "precision_sem", "recall", "recall_sem")
"""What can be published of a row (columns of table study_rows)."""

STORED, IMAGE, FEATURE, OFF = DELTAS = ("stored", "image", "feature", "off")
"""DeltaT1: as the feature set has it; as it has it, from images; from its vectors, subtracted; left out."""


@dataclass(frozen=True)
class Tried:
    """What a row of a study tries.

    Attributes:
        experiment: All of it, but for the feature sets, which a lake has to give.
        features: The study's names of them.
        delta: One of ``DELTAS``.
    """

    experiment: Experiment
    features: tuple[str, ...]
    delta: str


@dataclass(frozen=True)
class StudyRow:
    """A row of a study's tables. ``tried`` is None for another system, whose published figures are quoted."""

    name: str
    table: str
    label: str
    position: int
    split: str
    compared_with: str
    published: Mapping[str, float]
    tried: Tried | None = None


@dataclass(frozen=True)
class Study:
    """A study file, read.

    Attributes:
        name: Of the study.
        rows: In the order of the file, quoted ones first.
        features: Names of the study -> backbones whose vectors serve, the first that there is.
    """

    name: str
    rows: tuple[StudyRow, ...]
    features: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def only(self, chosen: Iterable[str]) -> Study:
        """The rows of some tables or of some names, and those they are compared with.

        Raises:
            InputError: there is no such table or row.
        """
        names = {row.name: {row.name} for row in self.rows}
        tables: dict[str, set[str]] = {}
        for row in self.rows:
            tables.setdefault(row.table, set()).add(row.name)
        wanted: set[str] = set()
        for name in chosen:
            wanted |= (names | tables)[check_choice("row or table of the study", name, [*tables, *names])]
        wanted |= {row.compared_with for row in self.rows if row.name in wanted}
        return replace(self, rows=tuple(row for row in self.rows if row.name in wanted))


def _share(value: float) -> float:
    if not 0 <= value < 1:
        raise Wrong(f"is {value:g}; expected 0 to below 1")
    return value


@dataclass(frozen=True, kw_only=True)
class _Options(Table):
    """``[defaults]``, and the same keys of an experiment; what both leave out is the model's, or the experiment's."""

    features: SomeTexts | None = None
    model: Annotated[str, one_of(DEFAULTS)] | None = None
    delta: Annotated[str, one_of(DELTAS)] | None = None
    label_rule: Annotated[str, one_of(LABEL_RULES)] | None = None
    external: Annotated[str, one_of(EXTERNAL_VIEWS)] | None = None
    diagnosis: str | None = None
    repeats: Positive | None = None
    folds: Annotated[int, at_least(2)] | None = None
    seed: Annotated[int, at_least(0)] | None = None
    modalities: Annotated[Texts, some_of(BRANCHES)] | None = None
    masked_branches: Annotated[Texts, some_of(BRANCHES)] | None = None
    modality_dropout: Annotated[float, Check(_share)] | None = None
    balanced: bool | None = None
    calibrated: bool | None = None
    ensemble_size: Positive | None = None
    harmonise: Annotated[str, one_of(METHODS)] | None = None
    epochs: Annotated[int, at_least(0)] | None = None


@dataclass(frozen=True, kw_only=True)
class _Quoted(Table):
    """A row of another system."""

    name: str
    table: str
    label: str | None = None
    split: Annotated[str, one_of(SPLITS)] = "internal"
    compared_with: str = ""
    published: Annotated[Mapping[str, float], some_of(FIGURES)] = field(default_factory=dict)

    def row(self, position: int, tried: Tried | None = None) -> StudyRow:
        """As a row of the study."""
        label = self.name if self.label is None else self.label
        return StudyRow(self.name, self.table, label, position, self.split, self.compared_with, self.published, tried)


@dataclass(frozen=True, kw_only=True)
class _Experiment(_Quoted, _Options):
    """A row that is tried."""

    def tried(self, defaults_: _Options, features: Mapping[str, Any]) -> Tried:
        """With what it leaves out from the defaults. Raises Wrong."""
        options = [vars(defaults_), {each.name: getattr(self, each.name) for each in fields(_Options)}]
        given = {name: value for each in options for name, value in each.items() if value is not None}
        if absent := [key for key in ("features", "model") if key not in given]:
            raise Wrong("is missing", key=absent[0])
        for name in given["features"]:
            if name not in features:
                raise Wrong(f"names {name!r}, which is not known", key="features", value=name, known=features)
        delta = given.get("delta", STORED)
        own = {each.name for each in fields(Experiment)} - {"settings", "feature_sets"}
        experiment = Experiment(
            **{name: value for name, value in given.items() if name in own}
            | {
                "feature_sets": (),
                "settings": _settings(given, delta),
                "delta": FEATURE if delta == FEATURE else STORED,
            }
        )
        return Tried(experiment, given["features"], delta)


@dataclass(frozen=True, kw_only=True)
class _File(Table):
    """A study file."""

    study: str
    features: Mapping[str, SomeTexts]
    defaults: _Options = field(default_factory=_Options)
    quoted: tuple[_Quoted, ...] = ()
    experiment: tuple[_Experiment, ...] = ()

    def read(self) -> Iterator[StudyRow | Wrong]:
        """Its rows, and what is wrong with them."""
        names: set[str] = set()
        every = {row.name for row in (*self.quoted, *self.experiment)}
        for position, row in enumerate((*self.quoted, *self.experiment)):
            place = f"experiment {row.name!r}" if isinstance(row, _Experiment) else f"quoted {row.name!r}"
            if row.name in names:
                yield Wrong("is a second row of that name", key=place)
            names.add(row.name)
            if row.compared_with and row.compared_with not in every:
                what = f"names {row.compared_with!r}, which is no row"
                yield Wrong(what, key=f"{place}.compared_with", value=row.compared_with, known=every)
            try:
                tried = row.tried(self.defaults, self.features) if isinstance(row, _Experiment) else None
            except Wrong as wrong:
                yield wrong.within(place)
            else:
                yield row.row(position, tried)

    def __post_init__(self) -> None:
        Wrong.all_of(each for each in self.read() if isinstance(each, Wrong))


def read_study(path: str | Path | None = None) -> Study:
    """The study of a file; the shipped one where None.

    Raises:
        InputError: it cannot be read, or says something that is not understood; the message names the places, and the
            nearest words that are.
    """
    shipped = files("gliolake.modeling.study").joinpath(SHIPPED)
    text, name = (shipped.read_text("utf-8"), SHIPPED) if path is None else (text_of(Path(path)), str(path))
    found = read_table(load_toml(text, name), _File, name)
    return Study(found.study, tuple(row for row in found.read() if isinstance(row, StudyRow)), found.features)


def _settings(given: Mapping[str, Any], delta: str) -> Settings:
    settings = defaults(given["model"])
    branches, masked_branches = given.get("modalities", settings.branches), given.get("masked_branches", ())
    kept = tuple(branch for branch in BRANCHES if branch in branches and (delta, branch) != (OFF, "DeltaT1"))
    if not set(kept) - set(masked_branches):
        raise Wrong("leaves no modality", key="masked_branches")
    own = {each.name for each in fields(Settings)} - (set() if settings.epochs else {"epochs"})
    told = {name: value for name, value in given.items() if name in own}
    left_out = tuple(branch for branch in BRANCHES if branch in masked_branches)
    return replace(settings, **told | {"branches": kept, "masked_branches": left_out})

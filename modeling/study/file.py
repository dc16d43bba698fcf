"""A study: a TOML file of named experiments, and of published figures to hold them against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from gliolake.errors import InputError, known_name
from gliolake.modeling.data.harmonisation import METHODS
from gliolake.modeling.data.inputs import EXTERNAL_VIEWS
from gliolake.modeling.evaluation.crossval import SPLITS
from gliolake.modeling.experiment import Experiment
from gliolake.modeling.models.settings import DEFAULTS, Settings, defaults
from gliolake.schema.features import BRANCHES
from gliolake.schema.imaging import LABEL_RULES
from gliolake.toml_file import Section, parse_toml, read_toml

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
            wanted |= (names | tables)[known_name("row or table of the study", name, [*tables, *names])]
        wanted |= {row.compared_with for row in self.rows if row.name in wanted}
        return replace(self, rows=tuple(row for row in self.rows if row.name in wanted))


def read_study(path: str | Path | None = None) -> Study:
    """The study of a file; the shipped one where None.

    Raises:
        InputError: it cannot be read, or says something that is not understood; the message names the place, and the
            nearest word that is.
    """
    if path is None:
        root = parse_toml(files("gliolake.modeling.study").joinpath(SHIPPED).read_text("utf-8"), SHIPPED)
    else:
        root = read_toml(Path(path))
    name = root.text("study")
    features = _features(root)
    common = root.section("defaults") if "defaults" in root else Section(root.file, "defaults", {})
    rows = [_quoted(section, position) for position, section in enumerate(root.sections("quoted"))]
    for section in root.sections("experiment"):
        rows.append(_row(section.over(common), features, len(rows)))
    root.end()
    _check(Path(root.file).name, rows)
    return Study(name, tuple(rows), features)


def _features(root: Section) -> dict[str, tuple[str, ...]]:
    given = root.section("features")
    found = {name: given.texts(name) for name in given}
    given.end()
    return found


def _row(section: Section, features: Mapping[str, Any], position: int) -> StudyRow:
    section.text("name")
    section = Section(section.file, f"experiment {section.text('name')!r}", section.content)
    row = _named(section, position)
    named = section.texts("features")
    for one in named:
        if one not in features:
            raise section.unknown("features", one, features)
    model = section.choice("model", DEFAULTS)
    delta = section.choice("delta", DELTAS, STORED)
    experiment = Experiment(
        model, (), _settings(section, model, delta), section.choice("label_rule", LABEL_RULES, "brats21"),
        FEATURE if delta == FEATURE else STORED, section.choice("external", EXTERNAL_VIEWS, "external"),
        section.text("diagnosis", ""), section.whole("repeats", 4, least=1), section.whole("folds", 5, least=2),
        section.whole("seed", 0),
    )  # fmt: skip
    section.end()
    return replace(row, tried=Tried(experiment, named, delta))


def _settings(section: Section, model: str, delta: str) -> Settings:
    settings = defaults(model)
    branches = section.choices("modalities", BRANCHES, settings.branches)
    withheld = section.choices("withheld", BRANCHES, ())
    epochs = section.whole("epochs", settings.epochs)
    kept = tuple(branch for branch in BRANCHES if branch in branches and (delta, branch) != (OFF, "DeltaT1"))
    if not set(kept) - set(withheld):
        raise section.wrong("withheld", "leaves no modality")
    return replace(
        settings,
        branches=kept,
        withheld=tuple(branch for branch in BRANCHES if branch in withheld),
        modality_dropout=section.share("modality_dropout", settings.modality_dropout),
        balanced=section.flag("balanced", settings.balanced),
        calibrated=section.flag("calibrated", settings.calibrated),
        members=section.whole("members", settings.members, least=1),
        harmonise=section.choice("harmonise", METHODS) if "harmonise" in section else settings.harmonise,
        epochs=epochs if model != "logistic" else settings.epochs,
    )


def _quoted(section: Section, position: int) -> StudyRow:
    row = _named(section, position)
    section.end()
    return row


def _named(section: Section, position: int) -> StudyRow:
    name = section.text("name")
    published = section.mapping("published", str, float, {})
    for figure in published:
        if figure not in FIGURES:
            raise section.unknown("published", figure, FIGURES)
    split = section.choice("split", SPLITS, "internal")
    label, compared_with = section.text("label", name), section.text("compared_with", "")
    return StudyRow(name, section.text("table"), label, position, split, compared_with, published)


def _check(file: str, rows: Iterable[StudyRow]) -> None:
    seen: dict[str, StudyRow] = {}
    for row in rows:
        if row.name in seen:
            raise InputError(f"{file}: two rows are named {row.name!r}.", hint="Give each a name of its own.")
        seen[row.name] = row
    for row in seen.values():
        if row.compared_with:
            known_name(f"row in {file} to compare {row.name!r} with", row.compared_with, seen)

"""Cohorts described by data: a TOML file says how a cohort names its scans, lays out its files and writes its labels.

Two are shipped (``ingest/cohorts``); a further cohort is a further file and no code. A description is checked
as strictly as code would be, since a key that is silently ignored costs a study its labels.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from unicodedata import normalize

import pyarrow as pa

from gliolake import limits
from gliolake.collections import COLLECTIONS
from gliolake.errors import unknown_name
from gliolake.ingest.cohorts.scan_ids import IdRules, fields_of
from gliolake.schema.registry import TABLES
from gliolake.schema.vocabulary import LABEL_RULES, MODALITIES
from gliolake.toml_file import Check, SomeTexts, Table, Texts, Wrong, load_toml, one_of, read_table, some_of, text_of

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

MASK = "mask"
ROLES_OF_FILES = (*MODALITIES, MASK)
ROLES = ("training", "external", "released")
STATUSES = ("methylated", "unmethylated", "indeterminate", "unknown")
LABEL_FIELDS = ("mgmt_status", "mgmt_index", "declared_id", "age", "sex", "grade", "diagnosis", "idh",
                "codeletion_1p19q", "dead", "survival_days", "resection", "biopsied_before_imaging",
                "site")  # fmt: skip
"""Columns of the table ``labels`` that a description can fill from a label file."""

STEPS = ("bias", "denoise", "align", "coregister", "resample", "fit", "normalise")
"""Steps of the study's preprocessing, in the order in which they are done (features/preprocessing/steps.py)."""

CLIP_STEPS = frozenset({"fit", "normalise"})
"""Steps that cutting a clip does anyway: it takes the first 150 slices, and scales between two percentiles."""

_STARS = 4
"""Wildcards in the pattern of a path: each may try every part of a name."""

_CHOICES: Mapping[str, tuple[str, ...]] = {"mgmt_status": STATUSES, "sex": ("F", "M")}


def _patterns(given: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in given:
        if fields_of(pattern) != {"scan_id", "role"}:
            raise Wrong(f"has {pattern!r}: {{scan_id}} and {{role}} are needed, and no other")
        if pattern.count("*") > _STARS or len(pattern) > limits.NAME:
            raise Wrong(f"has one of more than {_STARS} * or {limits.NAME} letters")
    return given


def _roles(given: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    unknown = [Wrong("is a key that gliolake does not know", key=role, value=role, known=ROLES_OF_FILES)
               for role in given if role not in ROLES_OF_FILES]  # fmt: skip
    Wrong.all_of([*(Wrong("is missing", key=role) for role in MODALITIES if role not in given), *unknown])
    names = [name for several in given.values() for name in several]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Wrong(f"uses {min(twice)!r} for two of them")
    return {role: given[role] for role in ROLES_OF_FILES if role in given}


@dataclass(frozen=True, kw_only=True)
class ImagesTable(Table):
    """The table ``[images]``: where a cohort's files lie.

    patterns: paths with ``{scan_id}`` and ``{role}``, matched at any depth of the images folder.
    One that ends in / leads to the folder of a DICOM series, any other to a NIfTI file.
    roles: modality or ``mask`` -> the ways in which file names say it. mask_labels: accepted label -> meaning.
    Both leave the mask out where the cohort has none.
    """

    patterns: Annotated[SomeTexts, Check(_patterns)]
    roles: Annotated[Mapping[str, SomeTexts], Check(_roles)]
    mask_labels: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImageRules(ImagesTable):
    """``several_grids``: whether a scan's modalities may lie on grids of their own, as nobody has aligned them yet."""

    several_grids: bool = False


@dataclass(frozen=True)
class LabelColumn:
    """A column of a label file. ``values``, where given, lists all it may say; ``cohort`` is that of a declared id."""

    field: str
    column: str
    required: bool
    values: Mapping[str, Any]
    cohort: str


@dataclass(frozen=True)
class LabelRules:
    """How a cohort's label files are read: the id's column, what counts as missing, and the columns used."""

    id_column: str
    missing: frozenset[str]
    columns: tuple[LabelColumn, ...]


@dataclass(frozen=True, kw_only=True)
class _Column(Table):
    """A table ``[labels.FIELD]``."""

    column: str
    required: bool | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _DeclaredColumn(_Column):
    cohort: str


def _column(name: str, given: _Column) -> LabelColumn:
    kind = TABLES["labels"].schema.field(name).type
    expected: tuple[type, ...] = {pa.bool_(): (bool,), pa.int32(): (int,), pa.float64(): (int, float)}.get(kind, (str,))
    choices = _CHOICES.get(name)
    for value in given.values.values():
        if type(value) not in expected or (choices and value not in choices):
            wanted = " or ".join(choices or (cls.__name__ for cls in expected))
            raise Wrong(f"gives {value!r}; expected {wanted}", key="values")
    if (choices or kind == pa.bool_()) and not given.values:
        meanings = ", ".join(choices or ("true", "false"))
        raise Wrong(f"is missing: it says which entries mean {meanings}", key="values")
    return LabelColumn(
        field=name,
        column=given.column,
        required=name == "mgmt_status" if given.required is None else given.required,
        values={normalize("NFC", key.strip()).casefold(): value for key, value in given.values.items()},
        cohort=given.cohort if isinstance(given, _DeclaredColumn) else "",
    )


def _field_of_labels(name: str) -> tuple[str, Any, Any]:
    written = _DeclaredColumn if name == "declared_id" else _Column
    kind = Annotated[LabelColumn, Check(partial(_column, name), of=written)]
    return (name, kind, field()) if name == "mgmt_status" else (name, kind | None, field(default=None))


_Labels = make_dataclass(
    "_Labels",
    [("id", str), ("missing", SomeTexts, field(default=("",))), *map(_field_of_labels, LABEL_FIELDS)],
    bases=(Table,), frozen=True, kw_only=True,
)  # fmt: skip
"""The table ``[labels]``: a table within it for each of ``LABEL_FIELDS``, of which only the status has to be there."""


def _label_rules(given: Any) -> LabelRules:
    columns = tuple(column for name in LABEL_FIELDS if (column := getattr(given, name)))
    return LabelRules(given.id, frozenset(text.casefold() for text in given.missing), columns)


def _cohort_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,63}", name):
        raise Wrong(f"is {name!r}; expected up to 64 small letters, digits and _: it names folders")
    return name


def _collections(given: tuple[str, ...]) -> tuple[str, ...]:
    """Names of public collections; others are names too, of archives that only their hospital knows."""
    for name in given:
        near = difflib.get_close_matches(name.casefold(), [known.casefold() for known in COLLECTIONS], n=1, cutoff=0.8)
        meant = [known for known in COLLECTIONS if known.casefold() in near]
        if meant and name not in COLLECTIONS:
            raise Wrong(f"names {name!r}; did you mean {meant[0]!r}?")
    return given


@dataclass(frozen=True, kw_only=True)
class _Preprocessing(Table):
    done: Annotated[Texts, some_of(STEPS), Check(lambda done: tuple(step for step in STEPS if step in done))]


@dataclass(frozen=True, kw_only=True)
class Description(Table):
    """A cohort's TOML file.

    collections: The public collections that its scans are from; None where the description does not say.
    preprocessing: ``done``: which of ``STEPS`` were done to the images before they came here; None where it is silent.
    """

    name: Annotated[str, Check(_cohort_name)]
    role: Annotated[str, one_of(ROLES[:2])]
    label_rule: Annotated[str, one_of(LABEL_RULES)]
    ids: IdRules
    collections: Annotated[Texts, Check(_collections)] | None = None
    preprocessing: _Preprocessing | None = None
    images: ImagesTable | None = None
    labels: Annotated[LabelRules, Check(_label_rules, of=_Labels)] | None = None

    def __post_init__(self) -> None:
        if self.images is None and self.labels is None:
            raise Wrong("is missing, and so is 'labels': the description describes nothing", key="images")
        labels = self.images.mask_labels if self.images else {}
        if self.images and (MASK in self.images.roles) != bool(labels):
            raise Wrong("and images.roles.mask have to be there both, or neither", key="images.mask_labels")
        if not all(0 < label < 2**31 for label in labels):
            raise Wrong("has to list the labels above 0, which is background", key="images.mask_labels")


@dataclass(frozen=True, kw_only=True)
class Cohort(Description):
    """A cohort's description. ``text`` is the whole TOML file."""

    text: str
    images: ImageRules | None = None

    @property
    def sha256(self) -> str:
        """Of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def done(self) -> tuple[str, ...] | None:
        """Which of ``STEPS`` were done to the images before they came here; None where the description is silent."""
        return self.preprocessing.done if self.preprocessing else None

    @property
    def raw(self) -> bool:
        """Whether the images have to be preprocessed before clips can be cut from them.

        Co-registration to a template is left to whoever has one. A cohort that does not say is taken as it is, so
        that nothing is done twice by a guess; then its scans must lie on one grid each, as ready ones do.
        """
        return self.done is not None and not {*STEPS} - {"coregister", *CLIP_STEPS} <= {*self.done}

    def row(self) -> dict[str, Any]:
        """The cohort's row in the table ``cohorts``."""
        collections = None if self.collections is None else list(self.collections)
        return {"cohort": self.name, "role": self.role, "label_rule": self.label_rule, "collections": collections,
                "description": self.text, "description_sha256": self.sha256}  # fmt: skip


def load_cohort(name_or_path: str | Path, lake: Lake | None = None) -> Cohort:
    """The cohort of this name (shipped, or known to the lake), or described by the TOML file at this path.

    Raises:
        InputError: there is none, or its description is faulty; names the file and the key.
    """
    given = str(name_or_path)
    if given.endswith(".toml") or "/" in given:
        return read_cohort(Path(given))
    shipped = shipped_cohorts()
    if given in shipped:
        return parse_cohort(shipped[given].read_text(encoding="utf-8"), f"{given}.toml")
    known = known_cohorts(lake) if lake else {}
    if given in known:
        return known[given]
    raise unknown_name("cohort", given, {*shipped, *known}, hint="A new cohort is described by a file: give FILE.toml.")


def known_cohorts(lake: Lake) -> dict[str, Cohort]:
    """The cohorts that were ingested into the lake from a description, by name."""
    return cohorts_of_rows(lake.read("cohorts"))


def cohorts_of_rows(rows: pa.Table) -> dict[str, Cohort]:
    """The cohorts in rows of the table ``cohorts``, by name; those without a description are left out."""
    found = ((row["cohort"], row["description"]) for row in rows.to_pylist() if row["description"])
    return {name: parse_cohort(text, f"the lake's description of {name}") for name, text in sorted(found)}


def read_cohort(path: Path) -> Cohort:
    """The cohort that a TOML file describes. Raises InputError."""
    return parse_cohort(text_of(path), str(path))


@lru_cache
def parse_cohort(text: str, file: str) -> Cohort:
    """The cohort that a TOML text describes; ``file`` names it in messages. Raises InputError."""
    found = read_table(load_toml(text, file), Description, file)
    cohort = Cohort(**{**vars(found), "images": found.images and ImageRules(**vars(found.images))}, text=text)
    return replace(cohort, images=cohort.images and replace(cohort.images, several_grids=cohort.raw))


def shipped_cohorts() -> dict[str, Any]:
    """The shipped cohorts' files, by their names."""
    files = (resources.files("gliolake.ingest") / "cohorts").iterdir()
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}

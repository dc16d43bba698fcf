"""Cohorts described by data: a TOML file says how a cohort names its scans, lays out its files and writes its labels.

Two are shipped (``ingest/cohorts``); a further cohort is a further file and no code. A description is checked
as strictly as code would be, since a key that is silently ignored costs a study its labels.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import pyarrow as pa

from gliolake import limits
from gliolake.collections import COLLECTIONS
from gliolake.errors import InputError, unknown_name
from gliolake.ingest.cohorts.patterns import TimedPattern
from gliolake.ingest.cohorts.scan_ids import IdRules, fields_of
from gliolake.schema.imaging import LABEL_RULES, MODALITIES
from gliolake.schema.registry import TABLES
from gliolake.toml_file import Section, parse_toml

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

_WIDEST = 20
"""Digits that a number in a scan's id is padded to, at most."""

_CHOICES: Mapping[str, tuple[str, ...]] = {"mgmt_status": STATUSES, "sex": ("F", "M")}


@dataclass(frozen=True)
class ImageRules:
    """Where a cohort's files lie.

    patterns: paths with ``{scan_id}`` and ``{role}``, matched at any depth of the images folder.
    One that ends in / leads to the folder of a DICOM series, any other to a NIfTI file.
    roles: modality or ``mask`` -> the ways in which file names say it. mask_labels: accepted label -> meaning.
    Both leave the mask out where the cohort has none.
    several_grids: whether the modalities of a scan may lie on grids of their own, since nobody has aligned them yet.
    """

    patterns: tuple[str, ...]
    roles: Mapping[str, tuple[str, ...]]
    mask_labels: Mapping[int, str]
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


@dataclass(frozen=True)
class Cohort:
    """A cohort's description. ``text`` is the whole TOML file, ``sha256`` its digest.

    collections: The public collections that its scans are from; None where the description does not say.
    done: Which of ``STEPS`` were done to the images before they came here; None where the description does not say.
    """

    name: str
    role: str
    label_rule: str
    collections: tuple[str, ...] | None
    ids: IdRules
    images: ImageRules | None
    labels: LabelRules | None
    done: tuple[str, ...] | None
    text: str
    sha256: str

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
    try:
        return parse_cohort(limits.read_whole(path, limits.DESCRIPTION).decode("utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The cohort description {path} cannot be read: {error}.", hint="Give a UTF-8 TOML file."
        ) from error


@lru_cache
def parse_cohort(text: str, file: str) -> Cohort:
    """The cohort that a TOML text describes; ``file`` names it in messages. Raises InputError."""
    root = parse_toml(text, file)
    name = root.text("name")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,63}", name):
        raise root.wrong("name", f"is {name!r}; expected up to 64 small letters, digits and _: it names folders")
    role = root.choice("role", ROLES[:2])
    label_rule = root.choice("label_rule", LABEL_RULES)
    collections = _collections(root) if "collections" in root else None
    ids = _ids(root.section("ids"))
    done = _done(root.section("preprocessing")) if "preprocessing" in root else None
    images = _images(root.section("images")) if "images" in root else None
    labels = _labels(root.section("labels")) if "labels" in root else None
    root.end()
    if images is None and labels is None:
        raise root.wrong("images", "is missing, and so is 'labels': the description describes nothing")
    digest = hashlib.sha256(text.encode()).hexdigest()
    cohort = Cohort(name, role, label_rule, collections, ids, images, labels, done, text, digest)
    return replace(cohort, images=images and replace(images, several_grids=cohort.raw))


def _collections(root: Section) -> tuple[str, ...]:
    """Names of public collections; others are names too, of archives that only their hospital knows."""
    given = root.texts("collections", may_be_empty=True)
    for name in given:
        near = difflib.get_close_matches(name.casefold(), [known.casefold() for known in COLLECTIONS], n=1, cutoff=0.8)
        meant = [known for known in COLLECTIONS if known.casefold() in near]
        if meant and name not in COLLECTIONS:
            raise root.wrong("collections", f"names {name!r}; did you mean {meant[0]!r}?")
    return given


def shipped_cohorts() -> dict[str, Any]:
    """The shipped cohorts' files, by their names."""
    files = (resources.files("gliolake.ingest") / "cohorts").iterdir()
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}


def _ids(section: Section) -> IdRules:
    import regex  # not among what MXNet's workers have, which read no descriptions

    written = section.text("pattern")
    if len(written) > limits.NAME:
        raise section.wrong("pattern", f"has {len(written):,} letters; the limit is {limits.NAME}")
    counts = [max(int(count or 1) for count in pair) for pair in re.findall(r"\{(\d*),?(\d*)\}", written)]
    if math.prod(counts) > limits.REPEATS:  # a compiler may write out each of them
        raise section.wrong("pattern", f"asks for more than {limits.REPEATS:,} repeats")
    try:
        pattern = TimedPattern(written, written=written)
    except regex.error as error:
        raise section.wrong("pattern", f"is not a regular expression: {error}") from error
    groups = pattern.groups
    form = section.text("form")
    subject = section.text("subject", form)
    visit_day = section.text("visit_day", "")
    digits = section.mapping("digits", str, int, {})
    for key, used in (("form", fields_of(form)), ("subject", fields_of(subject)),
                      ("visit_day", {visit_day} - {""}), ("digits", {*digits})):  # fmt: skip
        if strange := used - groups:
            raise section.wrong(
                key, f"names {min(strange)!r}, which is no group of the pattern ({', '.join(sorted(groups))})"
            )
    if wide := [key for key, width in digits.items() if not 0 <= width <= _WIDEST]:
        raise section.wrong("digits", f"pads {wide[0]!r} to {digits[wide[0]]} digits; expected 0 to {_WIDEST}")
    aliases = section.mapping("aliases", str, str, {})
    section.end()
    plain = IdRules(pattern, form, subject, visit_day, digits)
    for scan_id in (*aliases, *aliases.values()):
        if (parsed := plain.parse(scan_id)) is None or parsed.scan_id != scan_id:
            raise section.wrong("aliases", f"names {scan_id!r}, which is not an id in normal form")
    return IdRules(pattern, form, subject, visit_day, digits, aliases)


def _done(section: Section) -> tuple[str, ...]:
    done = section.texts("done", may_be_empty=True)
    section.end()
    for step in done:
        if step not in STEPS:
            raise section.wrong("done", f"names {step!r}; the steps are {', '.join(STEPS)}")
    return tuple(step for step in STEPS if step in done)


def _images(section: Section) -> ImageRules:
    patterns = section.texts("patterns")
    for pattern in patterns:
        if fields_of(pattern) != {"scan_id", "role"}:
            raise section.wrong("patterns", f"has {pattern!r}: {{scan_id}} and {{role}} are needed, and no other")
        if pattern.count("*") > _STARS or len(pattern) > limits.NAME:
            raise section.wrong("patterns", f"has one of more than {_STARS} * or {limits.NAME} letters")
    inner = section.section("roles")
    roles = {role: inner.texts(role) for role in ROLES_OF_FILES if role != MASK or role in inner}
    inner.end()
    mask_labels = section.mapping("mask_labels", int, str) if MASK in roles else {}
    if MASK in roles and (not mask_labels or not all(0 < label < 2**31 for label in mask_labels)):
        raise section.wrong("mask_labels", "has to list the labels above 0, which is background")
    section.end()
    names = [name for given in roles.values() for name in given]
    if twice := {name for name in names if names.count(name) > 1}:
        raise section.wrong("roles", f"uses {min(twice)!r} for two of them")
    return ImageRules(patterns, roles, mask_labels)


def _labels(section: Section) -> LabelRules:
    id_column = section.text("id")
    missing = frozenset(text.casefold() for text in section.texts("missing", ("",)))
    columns = tuple(_column(section.section(field), field) for field in LABEL_FIELDS if field in section)
    section.end()
    if not any(column.field == "mgmt_status" for column in columns):
        raise section.wrong("mgmt_status", "is missing")
    return LabelRules(id_column, missing, columns)


def _column(section: Section, field: str) -> LabelColumn:
    column = section.text("column")
    required = section.flag("required", field == "mgmt_status")
    cohort = section.text("cohort") if field == "declared_id" else ""
    values = section.mapping("values", str, object, {})
    section.end()
    kind = TABLES["labels"].schema.field(field).type
    expected: tuple[type, ...] = {pa.bool_(): (bool,), pa.int32(): (int,), pa.float64(): (int, float)}.get(kind, (str,))
    for value in values.values():
        choices = _CHOICES.get(field)
        if type(value) not in expected or (choices and value not in choices):
            wanted = " or ".join(choices or (cls.__name__ for cls in expected))
            raise section.wrong("values", f"gives {value!r}; expected {wanted}")
    if (field in _CHOICES or kind == pa.bool_()) and not values:
        meanings = ", ".join(_CHOICES.get(field, ("true", "false")))
        raise section.wrong("values", f"is missing: it says which entries mean {meanings}")
    folded = {normalize("NFC", key.strip()).casefold(): value for key, value in values.items()}
    return LabelColumn(field, column, required, folded, cohort)

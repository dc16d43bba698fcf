"""Every table of the lake: its schema, its primary key, how it is partitioned, and a line on each column.

The registry is the only place where a table's shape is written down. The store refuses rows of another shape,
the catalog makes one SQL table of each entry, and ``gliolake tables`` prints it.

A data file has the columns of its table, in their types, or it is damaged: once lakes are in use, every change of a
table has to raise ``gliolake.storage.commit_log.FORMAT``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from gliolake.errors import known_name

MODALITIES = ("FLAIR", "T1", "T1wCE", "T2")
"""The four image modalities, in the study's names and order."""

BRANCHES = (*MODALITIES, "DeltaT1")
"""The five branches of the Siamese network: the modalities and the derived T1wCE − T1."""

FEATURE_LENGTH = 400
"""Numbers in a feature vector: the Kinetics-400 output layer of the study's networks."""

LABEL_RULES = {"brats21": 2, "ucsf": 1}
"""Rules by which a tumour is called methylated: how many methylated CpG sites it needs at least."""

text, integer, whole, real, flag = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
moment = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: name, pyarrow type, one line of documentation, and whether it may be null."""

    name: str
    type: pa.DataType
    doc: str
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """One table. ``key`` names the columns that identify a row, ``partition_by`` those that make up its folder.

    bulky: a row is megabytes of bytes that mean nothing in SQL. Such a table is written one row to a file, and
    neither merged nor shown to queries, which would read all of it to count it.
    """

    name: str
    doc: str
    key: tuple[str, ...]
    partition_by: tuple[str, ...]
    columns: tuple[Column, ...]
    bulky: bool = False

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns, partition columns included."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.optional) for c in self.columns])

    @cached_property
    def file_schema(self) -> pa.Schema:
        """The columns a data file holds: all but the partition columns, which its folder names."""
        return pa.schema([field for field in self.schema if field.name not in self.partition_by])

    @cached_property
    def key_kinds(self) -> tuple[type, ...]:
        """The Python types of a key's values: ``str`` or ``int``."""
        return tuple(str if self.schema.field(column).type == text else int for column in self.key)


def _table(name: str, doc: str, key: str, partition_by: str, *columns: Column, bulky: bool = False) -> Table:
    run = Column("run_id", text, "the run that wrote the row (table runs)")
    return Table(name, doc, tuple(key.split()), tuple(partition_by.split()), (*columns, run), bulky)


_COHORT = Column("cohort", text, "name of the cohort")
_SCAN = Column("scan_id", text, "imaging session, in the cohort's normal form")
# content: what the image is known by, however it is stored (ingest/scans/fingerprint.py).
_FILE = pa.struct(
    [
        pa.field("role", text, nullable=False),
        pa.field("uri", text, nullable=False),
        pa.field("bytes", whole, nullable=False),
        pa.field("mtime_ns", whole, nullable=False),
        pa.field("sha256", text, nullable=False),
        pa.field("dtype", text, nullable=False),
        pa.field("content", pa.list_(pa.float32()), nullable=False),
    ]
)
_LABEL_COUNT = pa.struct([pa.field("label", integer, nullable=False), pa.field("voxels", whole, nullable=False)])

_ALL = (
    _table(
        "cohorts",
        "one row per cohort that was ingested: what it is for and how it was described",
        "cohort",
        "",
        _COHORT,
        Column("role", text, "training, external, or released (vectors without images)"),
        Column("label_rule", text, "rule by which the cohort's own MGMT calls were made"),
        Column(
            "collections",
            pa.list_(text),
            "public collections that its scans are from, as its description says; null where it does not say",
            optional=True,
        ),
        Column("description", text, "the cohort's TOML description, whole"),
        Column("description_sha256", text, "sha256 of that description"),
    ),
    _table(
        "scans",
        "one row per imaging session whose files were read and found sound",
        "cohort scan_id",
        "cohort",
        _COHORT,
        _SCAN,
        Column("source_id", text, "the session's name as its folder gives it"),
        Column("subject_id", text, "the scan id without its visit"),
        Column("visit_day", integer, "days after the first visit; 0 for the first"),
        Column("files", pa.list_(_FILE), "role (a modality, or mask), URI, size, sha256, type, content of each file"),
        Column("shape", pa.list_(integer), "voxels along the three stored axes, of T1wCE where images differ"),
        Column("spacing_mm", pa.list_(real), "voxel size along the three stored axes, millimetres"),
        Column("affine", pa.list_(real), "16 numbers, row by row: stored voxel index to millimetres, RAS+"),
        Column("orientation", text, "stored axes, e.g. LPS: the first axis runs to the patient's left"),
        Column("tumour_box", pa.list_(integer), "x0 x1 y0 y1 z0 z1, half-open, voxels of the image turned to LPS"),
        Column("tumour_voxels", whole, "voxels of the mask that are not background; 0 where the box was given by hand"),
        Column("mask_labels", pa.list_(_LABEL_COUNT), "voxels of each label of the mask, background left out"),
        Column("warnings", pa.list_(text), "oddities that did not cost the scan its place"),
        Column("fingerprint", text, "digest of names, sizes and times of the files: unchanged means not read again"),
    ),
    _table(
        "labels",
        "one row per scan and label source: the MGMT call and what else the source says of the patient",
        "cohort scan_id source",
        "cohort",
        _COHORT,
        _SCAN,
        Column("source", text, "name of the label file: its stem, with its folder where another source is called so"),
        Column("source_path", text, "the file's path when it was last read", True),
        Column("source_order", integer, "of two sources the one with the larger number came, or changed, later", True),
        Column("source_id", text, "the scan's name as the source writes it"),
        Column("source_row", integer, "line of the source, the header being line 1"),
        Column("source_sha256", text, "sha256 of the source"),
        Column("mgmt_status", text, "methylated, unmethylated, indeterminate or unknown, as the source calls it"),
        Column("mgmt_index", integer, "methylated CpG sites, where the source counts them", True),
        Column("label_rule", text, "rule by which the source made its call"),
        Column("declared_cohort", text, "cohort in which the source says this scan is also found", True),
        Column("declared_id", text, "its scan id there", True),
        Column("age", real, "years at imaging", True),
        Column("sex", text, "F or M", True),
        Column("grade", integer, "WHO CNS grade", True),
        Column("diagnosis", text, "final pathological diagnosis (WHO 2021)", True),
        Column("idh", text, "IDH status", True),
        Column("codeletion_1p19q", text, "1p/19q status", True),
        Column("dead", flag, "dead at last follow-up", True),
        Column("survival_days", integer, "days of survival or follow-up", True),
        Column("resection", text, "extent of resection", True),
        Column("biopsied_before_imaging", flag, "biopsy before imaging", True),
        Column("site", text, "hospital or collection that the scan comes from", True),
    ),
    _table(
        "links",
        "one row per pair of scans said to be one patient; patients are the connected components",
        "cohort_a scan_a cohort_b scan_b kind evidence",
        "",
        Column("cohort_a", text, "cohort of the first scan"),
        Column("scan_a", text, "the first scan"),
        Column("cohort_b", text, "cohort of the second scan"),
        Column("scan_b", text, "the second scan; it need not be in the lake"),
        Column("kind", text, "declared, follow-up, same content, or suspected"),
        Column(
            "evidence",
            text,
            "what says so: the source and its column, the id's suffix, or the shared images",
        ),
        Column("score", real, "1 for a statement, less for a suspicion"),
    ),
    _table(
        "exclusions",
        "one row per scan, or row of a label file, that a step left out, and why; scan_id is empty for a whole folder",
        "cohort scan_id step reason source",
        "cohort",
        _COHORT,
        _SCAN,
        Column("step", text, "images, labels, boxes, preprocess, features: the step that left it out"),
        Column("reason", text, "one of a fixed set of reasons, e.g. missing modality"),
        Column("detail", text, "which file or row, what is wrong, what was expected"),
        Column("source", text, "URI of the file or folder at fault; of step features, the feature set"),
        Column("fingerprint", text, "digest of the files as they were: unchanged means not read again"),
    ),
    _table(
        "lists",
        "one row per scan on a list that a user gave, e.g. a paper's table of external patients",
        "list cohort scan_id",
        "",
        Column("list", text, "name of the list"),
        _COHORT,
        _SCAN,
        Column("entries", integer, "times the list names the scan"),
        Column("source_sha256", text, "sha256 of the list's file"),
    ),
    _table(
        "volume_sets",
        "one row per way of preprocessing: the steps that a scan has to have seen, done here or before it came",
        "volume_set",
        "",
        Column("volume_set", text, "a short hash of the recipe"),
        Column("recipe", text, "the whole recipe as JSON: steps, their settings, the template's sha256, versions"),
    ),
    _table(
        "volumes",
        "one row per preprocessed image or mask that is kept; its voxels are in table voxels",
        "volume_set cohort scan_id role",
        "volume_set cohort",
        Column("volume_set", text, "recipe of the volume (table volume_sets)"),
        _COHORT,
        _SCAN,
        Column("role", text, "modality, or mask"),
        Column("steps", pa.list_(text), "steps that were done here; the others the cohort came with"),
        Column("shape", pa.list_(integer), "voxels along the three stored axes, which are LPS"),
        Column("affine", pa.list_(real), "16 numbers, row by row: stored voxel index to millimetres, RAS+"),
        Column("tumour_box", pa.list_(integer), "x0 x1 y0 y1 z0 z1, half-open, voxels, moved with the image"),
        Column("bytes", whole, "size of the volume as NIfTI"),
        Column("sha256", text, "sha256 of the volume as NIfTI"),
        Column("input_sha256", text, "digest of the files, the box and the steps that it was made from"),
    ),
    _table(
        "voxels",
        "one row per volume that is kept: its bytes, for extraction and previews, not for SQL",
        "volume_set cohort scan_id role",
        "volume_set cohort",
        Column("volume_set", text, "recipe of the volume (table volume_sets)"),
        _COHORT,
        _SCAN,
        Column("role", text, "modality, or mask"),
        Column("nifti", pa.binary(), "the volume as a NIfTI-1 file"),
        bulky=True,
    ),
    _table(
        "feature_sets",
        "one row per recipe of feature vectors; vectors of different recipes never mix",
        "feature_set",
        "",
        Column("feature_set", text, "the backbone's name and a short hash of the recipe"),
        Column("backbone", text, "network, e.g. random_conv"),
        Column("weights", text, "trained, released, untrained or random: what the figures rest on"),
        Column("recipe", text, "the whole recipe as JSON: weights, clip, delta, sampling, precision, library versions"),
    ),
    _table(
        "features",
        "one row per scan, branch and feature set: 400 numbers",
        "feature_set cohort scan_id modality",
        "feature_set cohort modality",
        Column("feature_set", text, "recipe of the vector (table feature_sets)"),
        _COHORT,
        _SCAN,
        Column("modality", text, "FLAIR, T1, T1wCE, T2 or DeltaT1"),
        Column("values", pa.list_(pa.float32()), "400 float32"),
        Column("input_sha256", text, "digest of the sha256 of the files the vector was computed from"),
    ),
    _table(
        "runs",
        "one row per command that changed the lake",
        "run_id",
        "",
        Column("command", text, "name of the command"),
        Column("arguments", text, "its arguments as JSON"),
        Column("code_version", text, "version of gliolake, and its git commit where there is one"),
        Column("host", text, "operating system, Python and number of cores; nothing that names a person"),
        Column("started", moment, "when it began"),
        Column("ended", moment, "when it ended", True),
        Column("outcome", text, "unfinished, done, or the error that ended it"),
    ),
    _table(
        "experiments",
        "one row per experiment: what was trained on what, and how",
        "experiment",
        "",
        Column("experiment", text, "the model's name and a short hash of the settings"),
        Column("model", text, "snn, snn_released, snn_lowrank, mlp or logistic; search: chosen anew in each fold"),
        Column("feature_set", text, "vectors it was trained on; several, joined by +, lie side by side"),
        Column("weights", text, "what those vectors rest on: trained, released, untrained, random or synthetic"),
        Column("label_rule", text, "rule by which the labels were made"),
        Column("split", text, "view that named the training scans"),
        Column("scans", integer, "training scans"),
        Column("patients", integer, "training patients"),
        Column("settings", text, "all settings and the digests of the input rows and of the code, as JSON"),
    ),
    _table(
        "fits",
        "one row per fold of an experiment: how large its parts are, and what it chose for itself",
        "experiment repeat fold",
        "experiment",
        Column("experiment", text, "experiment (table experiments)"),
        Column("repeat", integer, "repeat of the cross-validation, from 0"),
        Column("fold", integer, "fold of the repeat, from 0"),
        Column("fitting", integer, "scans it was fitted on"),
        Column("validation", integer, "scans it was stopped by"),
        Column("test", integer, "scans it was tested on"),
        Column("selection", text, "what it chose inside its training part (epoch, C, temperature), as JSON"),
    ),
    _table(
        "predictions",
        "one row per scan and fold of an experiment: the predicted probability of methylation",
        "experiment split repeat fold cohort scan_id",
        "experiment",
        Column("experiment", text, "experiment (table experiments)"),
        Column("split", text, "internal (the fold's test part) or external"),
        Column("repeat", integer, "repeat of the cross-validation, from 0"),
        Column("fold", integer, "fold of the repeat, from 0"),
        _COHORT,
        _SCAN,
        Column("patient_id", text, "patient (view patients)"),
        Column("methylated", flag, "the label"),
        Column("probability", real, "predicted probability of methylation"),
    ),
    _table(
        "attention",
        "one row per scan, fold and branch of an experiment: the weight the fusion gave the branch",
        "experiment split repeat fold cohort scan_id modality",
        "experiment",
        Column("experiment", text, "experiment (table experiments)"),
        Column("split", text, "internal or external"),
        Column("repeat", integer, "repeat of the cross-validation, from 0"),
        Column("fold", integer, "fold of the repeat, from 0"),
        _COHORT,
        _SCAN,
        Column("modality", text, "branch; with several feature sets, its feature set, a colon, and the branch"),
        Column("weight", real, "attention received by the branch; the weights of a scan sum to 1"),
    ),
    _table(
        "metrics",
        "one row per fold of an experiment and metric, with the optimism a careless protocol would have shown",
        "experiment split repeat fold metric",
        "experiment",
        Column("experiment", text, "experiment (table experiments)"),
        Column("split", text, "internal or external"),
        Column("repeat", integer, "repeat of the cross-validation, from 0"),
        Column("fold", integer, "fold of the repeat, from 0"),
        Column("metric", text, "auc, accuracy, precision, recall or brier"),
        Column("value", real, "the honest figure; null where the fold cannot show one", True),
        Column("optimism", real, "what stopping on the test part would have added to it", True),
    ),
    _table(
        "summaries",
        "one row per experiment, split and metric: what its folds say together, with intervals",
        "experiment split metric",
        "experiment",
        Column("experiment", text, "experiment (table experiments)"),
        Column("split", text, "internal or external"),
        Column("metric", text, "auc, accuracy, precision, recall or brier"),
        Column("mean", real, "over folds; null where none can show it", True),
        Column("sd", real, "over folds", True),
        Column("sem", real, "SD / √folds, as the study prints it: as if folds were independent", True),
        Column("low", real, "95 % interval by bootstrap over patients", True),
        Column("high", real, "its upper end", True),
        Column("corrected_low", real, "95 % interval of the corrected resampled t, of internal figures", True),
        Column("corrected_high", real, "its upper end", True),
        Column("optimism", real, "mean of what a careless selection would have added", True),
        Column("folds", integer, "folds that can show it"),
        Column("scans", integer, "scans that were predicted"),
        Column("patients", integer, "whose patients are so many"),
    ),
    _table(
        "study_rows",
        "one row per experiment that a study names, and per figure it quotes: what was published, what became of it",
        "study name",
        "study",
        Column("study", text, "name of the study file"),
        Column("name", text, "the row's name in it"),
        Column("table", text, "the published table or figure it belongs to, e.g. table_1"),
        Column("position", integer, "place in the study file, from 0"),
        Column("label", text, "as the publication names it"),
        Column("split", text, "internal or external: the split that its figures are of"),
        Column("state", text, "done, failed, or quoted: another system's published figure"),
        Column("detail", text, "why it failed"),
        Column("experiment", text, "experiment (table experiments); empty where there is none"),
        Column("auc", real, "published mean", True),
        Column("auc_sem", real, "published standard error of the mean", True),
        Column("precision", real, "published mean; the released script filled it with accuracy", True),
        Column("precision_sem", real, "published standard error of the mean", True),
        Column("recall", real, "published mean", True),
        Column("recall_sem", real, "published standard error of the mean", True),
        Column("against", text, "row of the study that it is compared with; empty where with none"),
    ),
    _table(
        "comparisons",
        "one row per pair of a study's experiments, metric and test; p values also corrected over their family",
        "study first second split metric test",
        "study",
        Column("study", text, "name of the study file"),
        Column("first", text, "row of the study (table study_rows)"),
        Column("second", text, "the row it is compared with"),
        Column("split", text, "internal or external: the split that the first one's figures are of"),
        Column("second_split", text, "that of the second one's; if it is another, the two are compared unpaired"),
        Column("metric", text, "auc, precision or recall"),
        Column("test", text, "rank-sum (as the study), corrected t, DeLong, or patient bootstrap"),
        Column("first_value", real, "the first one's mean over folds; of DeLong and bootstrap, pooled AUC", True),
        Column("second_value", real, "the second one's", True),
        Column("difference", real, "first less second", True),
        Column("low", real, "95 % interval of the difference", True),
        Column("high", real, "its upper end", True),
        Column("statistic", real, "of the test", True),
        Column("p", real, "two-sided; null where the test gives none", True),
        Column(
            "p_holm", real, "the same, after Holm, over the rows of one published table, split, metric and test", True
        ),
        Column("units", integer, "folds or patients it rests on"),
        Column("note", text, "why a test says nothing, or which scans it is on if not on all", True),
    ),
    _table(
        "correlations",
        "one row per correlation that a study states, recomputed from its experiments",
        "study name",
        "study",
        Column("study", text, "name of the study file"),
        Column("name", text, "what is correlated"),
        Column("published", text, "what the study states"),
        Column("r", real, "Pearson's r; null with fewer than three points", True),
        Column("r2", real, "its square", True),
        Column("low", real, "95 % interval of r (Fisher's z)", True),
        Column("high", real, "its upper end", True),
        Column("p", real, "two-sided", True),
        Column("points", integer, "models it is over"),
        Column("published_r", real, "the same models with the published AUCs in place of ours", True),
        Column("note", text, "what the points rest on, or why there are too few"),
    ),
    _table(
        "subgroups",
        "one row per experiment and group of patients: AUC in the group, with an interval by patient bootstrap",
        "study name split attribute group",
        "study",
        Column("study", text, "name of the study file"),
        Column("name", text, "row of the study (table study_rows)"),
        Column("split", text, "internal or external"),
        Column("attribute", text, "all, site, sex, age, grade or diagnosis"),
        Column("group", text, "the group"),
        Column("scans", integer, "scans in it"),
        Column("patients", integer, "patients in it"),
        Column("positive", integer, "methylated scans in it"),
        Column("auc", real, "of the mean prediction per scan; null where the group is too small", True),
        Column("low", real, "95 % interval, the group's own and not corrected for there being many", True),
        Column("high", real, "its upper end", True),
        Column("note", text, "why a figure is missing", True),
    ),
    _table(
        "curves",
        "one row per point of an experiment's decision curve or bin of its calibration curve, of mean predictions",
        "study name split curve point",
        "study",
        Column("study", text, "name of the study file"),
        Column("name", text, "row of the study (table study_rows)"),
        Column("split", text, "internal or external"),
        Column("curve", text, "decision or calibration"),
        Column("point", integer, "from 0"),
        Column("x", real, "threshold probability; or mean predicted probability of the bin"),
        Column("y", real, "net benefit of following the model; or share methylated in the bin"),
        Column("treat_all", real, "net benefit of treating everybody (that of treating nobody is 0)", True),
        Column("scans", integer, "scans in the bin", True),
        Column("error", real, "calibration error over all bins", True),
    ),
    _table(
        "roc",
        "one row per point of an experiment's ROC curve, of mean predictions, with a band by bootstrap over patients",
        "study name split point",
        "study",
        Column("study", text, "name of the study file"),
        Column("name", text, "row of the study (table study_rows)"),
        Column("split", text, "internal or external"),
        Column("point", integer, "from 0"),
        Column("x", real, "false positive rate: 1 − specificity"),
        Column("y", real, "true positive rate at it: sensitivity"),
        Column("low", real, "95 % interval of y at this x, pointwise", True),
        Column("high", real, "its upper end", True),
    ),
    _table(
        "ccc",
        "one row per feature, pair of feature sets and modality: how well the two agree on the scans that both have",
        "first second modality feature",
        "first second",
        Column("first", text, "feature set (table feature_sets); the smaller of the two names"),
        Column("second", text, "the other one"),
        Column("modality", text, "FLAIR, T1, T1wCE, T2 or DeltaT1"),
        Column("feature", integer, "place in the vector, from 1, as the study's Table S4 counts"),
        Column("ccc", real, "Lin's concordance correlation coefficient; null where both are the same constant", True),
        Column("low", real, "95 % interval, by jackknife over patients on Fisher's z", True),
        Column("high", real, "its upper end", True),
        Column("scans", whole, "scans that both sets have"),
        Column("patients", whole, "whose patients are so many"),
    ),
    _table(
        "agreements",
        "one row per pair of feature sets and modality: the mean CCC over features, with an interval",
        "first second modality",
        "",
        Column("first", text, "feature set (table feature_sets); the smaller of the two names"),
        Column("second", text, "the other one"),
        Column("modality", text, "FLAIR, T1, T1wCE, T2, DeltaT1, or all: the mean over the modalities"),
        Column("mean", real, "mean CCC over the features that have one", True),
        Column("low", real, "95 % interval of that mean, by jackknife over patients", True),
        Column("high", real, "its upper end", True),
        Column("features", integer, "features that have one"),
        Column("scans", whole, "scans that both sets have"),
        Column("patients", whole, "whose patients are so many"),
        Column(
            "input_sha256", text, "digest of the data files it was computed from: unchanged means not computed again"
        ),
    ),
    _table(
        "published_ccc",
        "one row per feature and pair of networks: the concordance that a publication prints",
        "source first second feature",
        "source",
        Column("source", text, "name of the file, without folder and ending"),
        Column("first", text, "network, as the publication names it, in small letters"),
        Column("second", text, "the other network"),
        Column("feature", integer, "place in the vector, from 1"),
        Column("ccc", real, "as printed"),
        Column("source_sha256", text, "sha256 of the file"),
    ),
    _table(
        "embeddings",
        "one row per scan and feature set: its place on a map on which like scans lie near each other",
        "feature_set cohort scan_id",
        "feature_set",
        Column("feature_set", text, "vectors that were mapped (table feature_sets)"),
        _COHORT,
        _SCAN,
        Column("method", text, "how the map was made, and from what seed"),
        Column("x", real, "place on the map; it has no unit"),
        Column("y", real, "place on the map; it has no unit"),
    ),
    _table(
        "trials",
        "one row per candidate of a nested search and outer fold: how it did inside, and which one was chosen",
        "search repeat fold candidate",
        "search",
        Column("search", text, "experiment that the search made (table experiments)"),
        Column("repeat", integer, "repeat of the outer cross-validation, from 0"),
        Column("fold", integer, "outer fold, from 0"),
        Column("candidate", text, "name of the candidate"),
        Column("settings", text, "its model and settings as JSON"),
        Column("inner_auc", real, "mean AUC of the inner folds, all within the outer training part", True),
        Column("inner_loss", real, "mean log loss of the inner folds", True),
        Column("chosen", flag, "whether it was chosen: by the inner figures alone"),
        Column("outer_auc", real, "AUC on the outer test part, seen by nobody before the choice", True),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}


def table(name: str) -> Table:
    """The table of this name.

    Raises:
        InputError: there is none; the message suggests the nearest names.
    """
    return TABLES[known_name("table", name, TABLES)]

"""Tables of agreement: concordance of each feature, its mean, and published values."""

from __future__ import annotations

from gliolake.schema.types import Column, define_table, integer, real, text, whole

TABLES = (
    define_table(
        "ccc",
        "one row per feature, pair of feature sets and modality: how well the two agree on the scans that both have",
        "first second modality feature",
        "first second",
        Column("first", text, "feature set (table feature_sets); the smaller of the two names"),
        Column("second", text, "the other one"),
        Column("modality", text, "FLAIR, T1, T1wCE, T2 or DeltaT1"),
        Column("feature", integer, "place in the vector, from 1, as the study's Table S4 counts"),
        Column("ccc", real, "Lin's concordance correlation coefficient; null where both are the same constant", True),
        Column("ci_low", real, "95 % interval, by jackknife over patients on Fisher's z", True),
        Column("ci_high", real, "its upper end", True),
        Column("scans", whole, "scans that both sets have"),
        Column("patients", whole, "whose patients are so many"),
        made_by=("gliolake ccc",),
    ),
    define_table(
        "ccc_means",
        "one row per pair of feature sets and modality: the mean CCC over features, with an interval",
        "first second modality",
        "",
        Column("first", text, "feature set (table feature_sets); the smaller of the two names"),
        Column("second", text, "the other one"),
        Column("modality", text, "FLAIR, T1, T1wCE, T2, DeltaT1, or all: the mean over the modalities"),
        Column("mean", real, "mean CCC over the features that have one", True),
        Column("ci_low", real, "95 % interval of that mean, by jackknife over patients", True),
        Column("ci_high", real, "its upper end", True),
        Column("features", integer, "features that have one"),
        Column("scans", whole, "scans that both sets have"),
        Column("patients", whole, "whose patients are so many"),
        Column(
            "input_sha256", text, "digest of the data files it was computed from: unchanged means not computed again"
        ),
        made_by=("gliolake ccc",),
    ),
    define_table(
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
        made_by=("gliolake ccc --published FILE.csv",),
    ),
)

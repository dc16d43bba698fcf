"""Tables of feature vectors, and of their projections onto a plane."""

from __future__ import annotations

import pyarrow as pa

from gliolake.schema.types import COHORT, SCAN, Column, define_table, real, text

TABLES = (
    define_table(
        "feature_sets",
        "one row per recipe of feature vectors; vectors of different recipes never mix",
        "feature_set",
        "",
        Column("feature_set", text, "the backbone's name and a short hash of the recipe"),
        Column("backbone", text, "network, e.g. random_conv"),
        Column("weights", text, "trained, released, untrained or random: what the figures rest on"),
        Column("recipe", text, "the whole recipe as JSON: weights, clip, delta, sampling, precision, library versions"),
        made_by=("gliolake extract",),
    ),
    define_table(
        "features",
        "one row per scan, branch and feature set: 400 numbers",
        "feature_set cohort scan_id modality",
        "feature_set cohort modality",
        Column("feature_set", text, "recipe of the vector (table feature_sets)"),
        COHORT,
        SCAN,
        Column("modality", text, "FLAIR, T1, T1wCE, T2 or DeltaT1"),
        Column("values", pa.list_(pa.float32()), "400 float32"),
        Column("input_sha256", text, "digest of the sha256 of the files the vector was computed from"),
        made_by=("gliolake extract",),
    ),
    define_table(
        "embeddings",
        "one row per scan and feature set: its place on a map on which like scans lie near each other",
        "feature_set cohort scan_id",
        "feature_set",
        Column("feature_set", text, "vectors that were mapped (table feature_sets)"),
        COHORT,
        SCAN,
        Column("method", text, "how the map was made, and from what seed"),
        Column("x", real, "place on the map; it has no unit"),
        Column("y", real, "place on the map; it has no unit"),
        made_by=("gliolake map",),
    ),
)

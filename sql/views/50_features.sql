-- Features beside labels and splits, one row per scan and feature set. No view joins two feature sets.

-- One row per feature set, cohort and branch: how many scans have its vector, and in how many files and bytes they lie.
-- It is from the commit log: counting the vectors themselves would open them all.
--   feature_set: recipe of the vectors (table feature_sets)
--   cohort: name of the cohort
--   modality: FLAIR, T1, T1wCE, T2 or DeltaT1
--   scans: scans that have a vector
--   files: files that they lie in
--   bytes: bytes of those files
CREATE VIEW vectors AS
SELECT
    "partition"['feature_set'] AS feature_set, "partition"['cohort'] AS cohort, "partition"['modality'] AS modality,
    sum("rows")::BIGINT AS scans, count(*) AS files, sum(bytes)::BIGINT AS bytes
FROM data_files WHERE "table" = 'features'
GROUP BY ALL ORDER BY ALL;

-- One row per scan and feature set: its vectors, a column to each branch; null where a modality is missing.
--   FLAIR: 400 numbers of FLAIR
--   T1: 400 numbers of T1
--   T1wCE: 400 numbers of contrast-enhanced T1
--   T2: 400 numbers of T2
--   DeltaT1: 400 numbers of the difference T1wCE − T1
CREATE VIEW features_wide AS
SELECT
    feature_set, cohort, scan_id,
    any_value("values") FILTER (modality = 'FLAIR') AS "FLAIR",
    any_value("values") FILTER (modality = 'T1') AS "T1",
    any_value("values") FILTER (modality = 'T1wCE') AS "T1wCE",
    any_value("values") FILTER (modality = 'T2') AS "T2",
    any_value("values") FILTER (modality = 'DeltaT1') AS "DeltaT1"
FROM features
GROUP BY feature_set, cohort, scan_id;

-- What a model is given: 5 × 400 numbers per scan, its patient, its split and its call under both rules.
-- Released vectors carry no patient ids; each is taken as a patient of its own and can only train.
--   split: training or external; null for neither
--   input: the vectors of FLAIR, T1, T1wCE, T2 and DeltaT1, in this order; null where a modality is missing
--   synthetic: whether the scan is synthetic
CREATE VIEW snn_input AS
SELECT
    wide.feature_set, feature_sets.weights, wide.cohort, wide.scan_id,
    coalesce(patients.patient_id, wide.cohort || '/' || wide.scan_id) AS patient_id,
    CASE
        WHEN training.scan_id IS NOT NULL OR (cohorts.role = 'released' AND label.known) THEN 'training'
        WHEN external.scan_id IS NOT NULL THEN 'external'
    END AS split,
    coalesce(training.methylated_brats21, external.methylated_brats21, label.methylated) AS methylated_brats21,
    coalesce(training.methylated_ucsf, external.methylated_ucsf, label.methylated) AS methylated_ucsf,
    [wide."FLAIR", wide."T1", wide."T1wCE", wide."T2", wide."DeltaT1"] AS input,
    coalesce(list_contains(scans.warnings, 'synthetic'), false) AS synthetic,
    label.site, label.age, label.sex, label.grade, label.diagnosis
FROM features_wide AS wide
JOIN feature_sets USING (feature_set)
JOIN cohorts USING (cohort)
LEFT JOIN patients USING (cohort, scan_id)
LEFT JOIN scan_labels AS label USING (cohort, scan_id)
LEFT JOIN training USING (cohort, scan_id)
LEFT JOIN external USING (cohort, scan_id)
LEFT JOIN scans USING (cohort, scan_id);

-- What weights, and what was made of them, rest on, in words.
CREATE MACRO weights_label(weights) AS CASE weights
    WHEN 'trained' THEN 'trained weights'
    WHEN 'released' THEN 'the study''s released vectors'
    WHEN 'random' THEN 'random weights: no training went into the vectors'
    WHEN 'synthetic' THEN 'SYNTHETIC scans'
    ELSE weights || ' weights'
END;

-- One row per feature set: what its vectors rest on. One cohort with synthetic scans makes the whole set synthetic.
--   synthetic: whether it has vectors of such a cohort
--   basis: what the vectors rest on, in words
CREATE VIEW feature_bases AS
SELECT
    feature_set, backbone, weights, synthetic,
    if(synthetic, weights_label('synthetic') || ', ', '') || weights_label(weights) AS basis
FROM (
    SELECT *, feature_set IN (
        SELECT vectors.feature_set FROM vectors JOIN scans USING (cohort)
        WHERE list_contains(scans.warnings, 'synthetic')
    ) AS synthetic
    FROM feature_sets
);

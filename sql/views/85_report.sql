-- What a report of a study tells beside its results: who was studied, what selection on the test part would have shown, and
-- which files a figure comes from.

-- One row per group of patients that training or external holds: how many of the scans that stand for them are in it.
--   attribute: what patients are grouped by
--   group: the group
--   training: training scans in it, one per patient
--   external: external scans in it, one per patient
CREATE VIEW characteristics AS
WITH chosen AS (
    SELECT 'training' AS split, * FROM training
    UNION ALL SELECT 'external', * FROM external
), grouped AS (
    SELECT
        split,
        unnest([
            {'place': 1, 'attribute': 'MGMT by BraTS21''s rule',
                'group': if(methylated_brats21, 'methylated', 'unmethylated')},
            {'place': 2, 'attribute': 'MGMT by UCSF''s rule',
                'group': if(methylated_ucsf, 'methylated', 'unmethylated')},
            {'place': 3, 'attribute': 'images', 'group': if(has_images, 'read and sound', 'none, or not sound')},
            {'place': 4, 'attribute': 'age in years', 'group': CASE
                WHEN age IS NULL THEN 'unknown' WHEN age < 50 THEN '0–49' WHEN age < 65 THEN '50–64' ELSE '65+' END},
            {'place': 5, 'attribute': 'sex', 'group': coalesce(nullif(sex, ''), 'unknown')},
            {'place': 6, 'attribute': 'WHO grade', 'group': coalesce(grade::VARCHAR, 'unknown')},
            {'place': 7, 'attribute': 'diagnosis', 'group': coalesce(nullif(diagnosis, ''), 'unknown')},
            {'place': 8, 'attribute': 'IDH', 'group': coalesce(nullif(idh, ''), 'unknown')},
            {'place': 9, 'attribute': 'site', 'group': coalesce(nullif(site, ''), 'unknown')}
        ], recursive := true)
    FROM chosen
)
SELECT
    attribute, "group",
    count(*) FILTER (split = 'training') AS training,
    count(*) FILTER (split = 'external') AS external
FROM grouped
GROUP BY place, attribute, "group"
ORDER BY place, "group";

-- One row per finished row of a study and metric: the honest figure, and what the same run would have shown if its test
-- scans had been used to choose.
--   honest: the figure that tables of results show
--   optimism: what selection on the test part would have added
--   test_selected: honest and optimism together
CREATE VIEW optimism AS
SELECT
    "study", "table", position, label, name, split, metric, published,
    reproduced AS honest, optimism, reproduced + optimism AS test_selected, basis, weights, experiment
FROM results
WHERE reproduced IS NOT NULL AND optimism IS NOT NULL
ORDER BY "study", position, metric;

-- One row per experiment and file that its figures come from: images and masks of its scans, the label files of their
-- patients, the list that chose external scans, the files of released vectors. Of a path only the file's name is kept.
--   role: modality, mask, labels, list, or vectors and labels
--   scan_id: scan that the file is of; null for files of many scans
--   file: name of the file, without its folder
--   sha256: sha256 of the file
CREATE VIEW provenance AS
WITH used AS (
    SELECT DISTINCT experiment, cohort, scan_id FROM predictions
), owners AS (
    SELECT DISTINCT used.experiment, patients.patient_id FROM used JOIN patients USING (cohort, scan_id)
), images AS (
    SELECT cohort, scan_id, unnest(files) AS file FROM scans
)
SELECT
    used.experiment, images.file.role AS role, cohort, scan_id,
    parse_filename(images.file.uri) AS file, images.file.sha256 AS sha256
FROM used JOIN images USING (cohort, scan_id)
UNION ALL
SELECT DISTINCT
    owners.experiment, if(cohorts.role = 'released', 'vectors and labels', 'labels'), cohort, NULL,
    labels.source, labels.source_sha256
FROM owners
JOIN patients USING (patient_id)
JOIN labels USING (cohort, scan_id)
JOIN cohorts USING (cohort)
UNION ALL
SELECT DISTINCT used.experiment, 'list', cohort, NULL, scan_lists.list, scan_lists.source_sha256
FROM used
JOIN experiments ON experiments.experiment = used.experiment
    AND json_extract_string(experiments.settings, '$.external') = 'external_listed'
JOIN scan_lists USING (cohort, scan_id)
ORDER BY ALL;

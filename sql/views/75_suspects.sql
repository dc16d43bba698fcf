-- Pairs of scans that look like one person, for somebody to decide on; and the map on which like scans lie close.

-- One row per scan and feature set that was mapped: its place, and by what a figure may colour it. The call is by
-- BraTS21's rule, the site that of the labels, or the cohort where they name none.
--   split: training, external or neither
--   site: hospital or collection, or the cohort where labels name none
--   methylated: the scan's call by BraTS21's rule
CREATE VIEW figure_map AS
SELECT
    place.feature_set, place.cohort, place.scan_id, place.x, place.y, place.method,
    coalesce(used.split, 'neither') AS split,
    coalesce(nullif(label.site, ''), place.cohort) AS site,
    call.methylated,
    feature_bases.basis
FROM embeddings AS place
JOIN feature_bases USING (feature_set)
LEFT JOIN (SELECT feature_set, cohort, scan_id, split FROM snn_input) AS used USING (feature_set, cohort, scan_id)
LEFT JOIN scan_labels AS label USING (cohort, scan_id)
LEFT JOIN scan_calls AS call
    ON call.cohort = place.cohort AND call.scan_id = place.scan_id AND call.label_rule = 'brats21'
ORDER BY place.feature_set, place.cohort, place.scan_id;

-- One row per suspected pair, the most alike first: the review list. Nothing follows from a row here; if_true says what
-- would, if the two were declared one patient, and leak whether a training patient would leave the external set.
--   feature_set: vectors by which the two look alike (table feature_sets)
--   status_a: MGMT call of the first scan
--   status_b: MGMT call of the second
--   same_call: whether the two calls agree
--   index_a: methylated CpG sites of the first scan
--   index_b: methylated CpG sites of the second
--   age_a: age in years of the first scan
--   age_b: age in years of the second
--   age_difference: years between them
--   sex_a: sex of the first scan
--   sex_b: sex of the second
--   same_sex: whether it is the same
--   site_a: site of the first scan
--   site_b: site of the second
--   split_a: training, external or neither: the side of the first scan
--   split_b: training, external or neither: the side of the second
--   one_patient_by_now: whether other links make the two one patient
--   leak: whether one of the two trains and the other tests from outside
--   if_true: what would follow if the two were declared one patient
CREATE VIEW suspected_duplicates AS
WITH side AS (
    SELECT
        patients.cohort, patients.scan_id, patients.patient_id,
        label.mgmt_status, label.mgmt_index, label.methylated, label.age, label.sex, label.site,
        external.cohort || '/' || external.scan_id AS tests,
        CASE
            WHEN patients.patient_id IN (SELECT patient_id FROM training_scans) THEN 'training'
            WHEN external.scan_id IS NOT NULL THEN 'external'
            ELSE 'neither'
        END AS split
    FROM patients
    LEFT JOIN scan_labels AS label USING (cohort, scan_id)
    LEFT JOIN external ON external.patient_id = patients.patient_id
)
SELECT
    link.cohort_a, link.scan_a, link.cohort_b, link.scan_b,
    link.score, link.evidence, split_part(link.evidence, ': ', 1) AS feature_set,
    a.mgmt_status AS status_a, b.mgmt_status AS status_b,
    a.methylated = b.methylated AS same_call,
    a.mgmt_index AS index_a, b.mgmt_index AS index_b,
    a.age AS age_a, b.age AS age_b, abs(a.age - b.age) AS age_difference,
    a.sex AS sex_a, b.sex AS sex_b, a.sex = b.sex AS same_sex,
    a.site AS site_a, b.site AS site_b,
    a.split AS split_a, b.split AS split_b,
    a.patient_id = b.patient_id AS one_patient_by_now,
    (a.split, b.split) IN (('training', 'external'), ('external', 'training')) AS leak,
    CASE
        WHEN a.patient_id = b.patient_id THEN 'nothing: other links make them one patient by now'
        WHEN leak THEN coalesce(a.tests, b.tests) || ' would leave external'
        WHEN a.split = b.split AND a.split <> 'neither' THEN 'one of the two would leave ' || a.split
        ELSE 'nothing: not both are in a split'
    END AS if_true
FROM links AS link
JOIN side AS a ON a.cohort = link.cohort_a AND a.scan_id = link.scan_a
JOIN side AS b ON b.cohort = link.cohort_b AND b.scan_id = link.scan_b
WHERE link.kind = 'suspected'
ORDER BY link.score DESC, link.cohort_a, link.scan_a, link.cohort_b, link.scan_b;

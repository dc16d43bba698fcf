-- Splits: which scans train, which test from outside. Patients are split, never scans.

-- Every labelled scan with its cohort's role, its patient, and its patient's call under both rules.
--   known: whether the scan's own call is methylated or unmethylated
--   methylated: the scan's own call; null where it is not known
--   methylated_brats21: the patient's call by BraTS21's rule (table mgmt)
--   methylated_ucsf: the patient's call by UCSF's rule
--   has_images: whether the lake has sound images of the scan
CREATE TABLE labelled AS
SELECT
    label.cohort, label.scan_id, cohorts.role, patients.patient_id, patients.session_id,
    label.label_rule, label.known, label.methylated, label.mgmt_status, label.mgmt_index,
    by_brats21.methylated AS methylated_brats21,
    by_ucsf.methylated AS methylated_ucsf,
    coalesce(scans.visit_day, try_cast(regexp_extract(label.scan_id, '_FU(\d+)d$', 1) AS INTEGER), 0) AS visit_day,
    scans.scan_id IS NOT NULL AS has_images,
    label.age, label.sex, label.grade, label.diagnosis, label.idh, label.survival_days, label.dead, label.site
FROM scan_labels AS label
JOIN cohorts USING (cohort)
JOIN patients USING (cohort, scan_id)
LEFT JOIN scans USING (cohort, scan_id)
LEFT JOIN mgmt AS by_brats21
    ON by_brats21.patient_id = patients.patient_id AND by_brats21.label_rule = 'brats21'
LEFT JOIN mgmt AS by_ucsf
    ON by_ucsf.patient_id = patients.patient_id AND by_ucsf.label_rule = 'ucsf';

-- Scans of a training cohort with a call.
CREATE VIEW training_scans AS
SELECT * EXCLUDE (role, known) FROM labelled WHERE role = 'training' AND known;

-- Training scans, one per patient: one that has images if any has, then the first visit, then the first by name.
CREATE VIEW training AS
SELECT * FROM training_scans
QUALIFY row_number() OVER (PARTITION BY patient_id ORDER BY has_images DESC, visit_day, cohort, scan_id) = 1;

-- Scans of an external cohort with a call that are a training scan under another name, said or seen to be so.
--   training_cohort: cohort of the training scan that it is
--   training_scan_id: that training scan
--   training_methylated: the call there
CREATE VIEW overlap AS
SELECT
    labelled.* EXCLUDE (role, known),
    training.cohort AS training_cohort,
    training.scan_id AS training_scan_id,
    training.methylated AS training_methylated
FROM labelled
JOIN (
    SELECT session_id, cohort, scan_id, methylated FROM training_scans
    QUALIFY row_number() OVER (PARTITION BY session_id ORDER BY cohort, scan_id) = 1
) AS training USING (session_id)
WHERE labelled.role = 'external' AND labelled.known;

-- Scans of an external cohort with a call whose patient is nowhere in training, one per patient.
CREATE VIEW external AS
SELECT * EXCLUDE (role, known) FROM labelled
WHERE role = 'external' AND known
    AND patient_id NOT IN (SELECT patient_id FROM training_scans)
QUALIFY row_number() OVER (PARTITION BY patient_id ORDER BY has_images DESC, visit_day, cohort, scan_id) = 1;

-- External scans of patients that no link ties to any scan of a training cohort, labelled or not.
CREATE VIEW external_strict AS
SELECT * FROM external
WHERE patient_id NOT IN (
    SELECT patient_id FROM patients JOIN cohorts USING (cohort) WHERE cohorts.role = 'training'
);

-- External scans on a list that a user gave; a scan on two lists has two rows.
CREATE VIEW external_listed AS
SELECT scan_lists.list, external.* FROM external JOIN scan_lists USING (cohort, scan_id);

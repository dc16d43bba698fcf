-- What keeps the splits honest, and what they left out.

-- Pairs of names for one examination whose sources make different calls, and whether the index shows both to be right
-- by their own rule.
--   cohort_a: cohort of the first name
--   scan_a: the scan under that name
--   status_a: the call there
--   label_rule_a: the rule that call was made by
--   cohort_b: cohort of the second name
--   scan_b: the scan under that name
--   status_b: the call there
--   label_rule_b: the rule that call was made by
--   explained_by_rules: whether the index makes both calls right, each by its own rule
CREATE VIEW label_conflicts AS
SELECT
    one.patient_id,
    one.cohort AS cohort_a, one.scan_id AS scan_a, one.mgmt_status AS status_a, one.label_rule AS label_rule_a,
    two.cohort AS cohort_b, two.scan_id AS scan_b, two.mgmt_status AS status_b, two.label_rule AS label_rule_b,
    coalesce(one.mgmt_index, two.mgmt_index) AS mgmt_index,
    coalesce(
        (coalesce(one.mgmt_index, two.mgmt_index) >= rule_a.min_methylated_sites) = one.methylated
        AND (coalesce(one.mgmt_index, two.mgmt_index) >= rule_b.min_methylated_sites) = two.methylated,
        false
    ) AS explained_by_rules
FROM labelled AS one
JOIN labelled AS two
    ON one.session_id = two.session_id AND (one.cohort, one.scan_id) < (two.cohort, two.scan_id)
LEFT JOIN label_rules AS rule_a ON rule_a.label_rule = one.label_rule
LEFT JOIN label_rules AS rule_b ON rule_b.label_rule = two.label_rule
WHERE one.known AND two.known AND one.methylated <> two.methylated;

-- Labelled external scans that are no training scan themselves, but belong to a training patient through other scans:
-- the leaks that matching by id alone would let through. The path names every link from the scan to the training scan.
--   training_cohort: cohort of the training scan at the path's end
--   training_scan_id: that training scan
--   path: every link on the way to it
--   kinds: kinds of those links
CREATE VIEW leaks_avoided AS
WITH RECURSIVE kept_out AS (
    SELECT cohort, scan_id, patient_id, cohort || '/' || scan_id AS name FROM labelled
    WHERE role = 'external' AND known
        AND patient_id IN (SELECT patient_id FROM training_scans)
        AND session_id NOT IN (SELECT session_id FROM training_scans)
), walk (origin, place, hops, path, kinds) USING KEY (origin, place) AS (
    SELECT name, name, 0, name, []::VARCHAR[] FROM kept_out
    UNION
    SELECT
        walk.origin, link.linked_scan, min(walk.hops) + 1,
        arg_min(walk.path || ' =(' || link.kind || ': ' || link.evidence || ')=> ' || link.linked_scan, walk.hops),
        arg_min(list_append(walk.kinds, link.kind), walk.hops)
    FROM walk
    JOIN scan_links_symmetric AS link ON link.scan = walk.place
    LEFT JOIN recurring.walk AS seen ON seen.origin = walk.origin AND seen.place = link.linked_scan
    WHERE seen.origin IS NULL
    GROUP BY walk.origin, link.linked_scan
)
SELECT kept_out.* EXCLUDE (name), training_scans.cohort AS training_cohort, training_scans.scan_id AS training_scan_id,
    walk.path, list_distinct(walk.kinds) AS kinds
FROM kept_out
JOIN walk ON walk.origin = kept_out.name
JOIN training_scans ON walk.place = training_scans.cohort || '/' || training_scans.scan_id
QUALIFY row_number() OVER (PARTITION BY kept_out.name ORDER BY walk.hops, walk.place) = 1;

-- Each thing that must never happen, and how often it did. Every row has to show 0.
--   check: what must not happen
--   violations: how often it did; has to be 0
--   examples: where
CREATE TABLE split_audit AS
WITH both_sides AS (
    SELECT 'training' AS side, * FROM training_scans
    UNION ALL SELECT 'external', * FROM external
), images AS (
    SELECT side, cohort || '/' || scan_id AS scan, file.role, file.content
    FROM (SELECT side, cohort, scan_id, unnest(files) AS file FROM scans JOIN both_sides USING (cohort, scan_id))
    WHERE file.role <> 'mask' AND len(file.content) = 24
    -- Two images are the same where their content is, but for rounding (ingest/scans/fingerprint.py): means of octants that lie
    -- 0.002 apart at most, and sums that say 0.015 standard deviations. Means are paired by cells of twice that width,
    -- a training image's by its own cell and by the neighbour that it lies nearer to.
), training_images AS (
    SELECT row_number() OVER () AS image, content, content[1:3] AS means FROM images WHERE side = 'training'
), cells AS (
    SELECT image, floor(unnest([a - 0.5, a + 0.5])) AS a, b, c
    FROM (
        SELECT image, a, floor(unnest([b - 0.5, b + 0.5])) AS b, c
        FROM (
            SELECT image, means[1] / 0.004 AS a, means[2] / 0.004 AS b,
                floor(unnest([means[3] / 0.004 - 0.5, means[3] / 0.004 + 0.5])) AS c
            FROM training_images
        )
    )
), same_images AS (
    SELECT DISTINCT external.scan || ' ' || external.role AS image
    FROM images AS external
    JOIN cells ON cells.a = floor(content[1] / 0.004) AND cells.b = floor(content[2] / 0.004)
        AND cells.c = floor(content[3] / 0.004)
    JOIN training_images AS training ON training.image = cells.image
    WHERE external.side = 'external'
        AND list_distance(training.content[9:], external.content[9:]) <= 0.015 * sqrt(16)
        AND list_max([abs(training.content[i] - external.content[i]) FOR i IN range(1, 9)]) <= 0.002
)
SELECT 'a patient is both in training and external' AS check, count(*) AS violations, list(patient_id) AS examples
FROM (SELECT patient_id FROM training_scans INTERSECT SELECT patient_id FROM external)
UNION ALL
SELECT 'a patient has several scans in training', count(*), list(patient_id)
FROM (SELECT patient_id FROM training GROUP BY patient_id HAVING count(*) > 1)
UNION ALL
SELECT 'a patient has several scans in external', count(*), list(patient_id)
FROM (SELECT patient_id FROM external GROUP BY patient_id HAVING count(*) > 1)
UNION ALL
SELECT 'the same image is both in training and external', count(*), list(image)
FROM same_images
UNION ALL
SELECT 'an external scan declares a training scan', count(*), list(external.scan_id)
FROM external
JOIN labels USING (cohort, scan_id)
JOIN training_scans AS training
    ON training.cohort = labels.declared_cohort AND training.scan_id = labels.declared_id
UNION ALL
SELECT 'a scan in a split has no call under a rule', count(*), list(scan_id)
FROM both_sides WHERE methylated_brats21 IS NULL OR methylated_ucsf IS NULL
UNION ALL
SELECT 'a cohort may share patients with a training cohort, and no links between them are declared',
    coalesce(sum(scans)::BIGINT, 0),
    list(cohort || ' and ' || training_cohort || ': ' || array_to_string(collections, ', '))
FROM unlinked_cohorts;

-- Every scan that was ever named, with the first reason for which it is in no split, or why it cannot be used there.
--   step: step of the flowchart that left the scan out; 6 for none
--   reason: why it is in no split or cannot be used there; null where it is in one and can
CREATE VIEW scan_status AS
SELECT
    cohort, scan_id, role,
    CASE
        WHEN dropped_label IS NOT NULL AND NOT known THEN dropped_label
        WHEN mgmt_status IS NULL THEN 'no label'
        WHEN NOT known THEN 'MGMT ' || mgmt_status
        WHEN role = 'external' AND is_training_scan THEN 'is a training scan'
        WHEN role = 'external' AND is_training_patient THEN 'patient in training through a link'
        WHEN NOT chosen THEN 'another scan of the patient counts'
        WHEN bad_image IS NOT NULL THEN bad_image
        WHEN NOT has_images THEN 'no images'
    END AS reason,
    CASE
        WHEN NOT known THEN 1
        WHEN role = 'external' AND is_training_scan THEN 2
        WHEN role = 'external' AND is_training_patient THEN 3
        WHEN NOT chosen THEN 4
        WHEN bad_image IS NOT NULL OR NOT has_images THEN 5
        ELSE 6
    END AS step
FROM (
    SELECT
        name.cohort, name.scan_id, cohorts.role,
        label.mgmt_status, coalesce(label.known, false) AS known,
        scans.scan_id IS NOT NULL AS has_images,
        patients.session_id IN (SELECT session_id FROM training_scans) AS is_training_scan,
        patients.patient_id IN (SELECT patient_id FROM training_scans) AS is_training_patient,
        (name.cohort, name.scan_id) IN (SELECT (cohort, scan_id) FROM training)
            OR (name.cohort, name.scan_id) IN (SELECT (cohort, scan_id) FROM external) AS chosen,
        (SELECT min(reason) FROM exclusions AS e
            WHERE e.cohort = name.cohort AND e.scan_id = name.scan_id AND e.step = 'labels') AS dropped_label,
        (SELECT min(reason) FROM exclusions AS e
            WHERE e.cohort = name.cohort AND e.scan_id = name.scan_id AND e.step = 'images') AS bad_image
    FROM (
        SELECT cohort, scan_id FROM scans
        UNION SELECT cohort, scan_id FROM labels
        UNION SELECT cohort, scan_id FROM exclusions WHERE scan_id <> '' AND step <> 'boxes'
    ) AS name
    JOIN cohorts USING (cohort)
    JOIN patients USING (cohort, scan_id)
    LEFT JOIN scan_labels AS label USING (cohort, scan_id)
    LEFT JOIN scans USING (cohort, scan_id)
    WHERE cohorts.role IN ('training', 'external')
);

-- Figure 2 as a query: for each cohort and step, what was left out and why, and how many scans remain.
--   step: from 0, in order
--   remaining_are: what the scans are that remain after the step
--   remaining: how many remain
--   left_out: how many the step left out
--   why: reasons, with how often each
CREATE VIEW flowchart AS
WITH fates AS MATERIALIZED (
    SELECT * FROM scan_status
), reasons AS (
    SELECT cohort, step, string_agg(reason || ': ' || n, ', ' ORDER BY n DESC, reason) AS why
    FROM (SELECT cohort, step, reason, count(*) AS n FROM fates GROUP BY ALL) GROUP BY cohort, step
), steps (step, remaining_are) AS (VALUES
    (0, 'scans named by images or labels'),
    (1, 'scans with an MGMT call'),
    (2, 'scans that are no training scan'),
    (3, 'scans of patients outside training'),
    (4, 'scans, one per patient'),
    (5, 'scans with sound images')
), grid AS (
    SELECT DISTINCT fates.cohort, steps.step, steps.remaining_are
    FROM fates CROSS JOIN steps
    WHERE fates.role = 'external' OR steps.step NOT IN (2, 3)
)
SELECT
    grid.cohort, grid.step, grid.remaining_are,
    count(*) FILTER (fates.step > grid.step) AS remaining,
    count(*) FILTER (fates.step = grid.step) AS left_out,
    any_value(reasons.why) AS why
FROM grid
JOIN fates ON fates.cohort = grid.cohort
LEFT JOIN reasons ON reasons.cohort = grid.cohort AND reasons.step = grid.step
GROUP BY grid.cohort, grid.step, grid.remaining_are
ORDER BY grid.cohort, grid.step;

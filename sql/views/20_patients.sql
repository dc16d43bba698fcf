-- Patients: connected components of the links between scans.
-- What many views rest on is a table of the catalog, computed once for each connection.

-- One row per scan that anything in the lake names.
CREATE VIEW scan_names AS
SELECT cohort, scan_id FROM scans
UNION
SELECT cohort, scan_id FROM labels
UNION
SELECT cohort, scan_id FROM exclusions WHERE scan_id <> '' AND step <> 'boxes'
UNION
SELECT cohort_a, scan_a FROM links
UNION
SELECT cohort_b, scan_b FROM links;

-- Links in both directions, between scans named cohort/scan_id. A suspicion joins nobody.
--   scan: one scan, as cohort/scan_id
--   linked_scan: the scan that it is linked with
CREATE TABLE scan_links_symmetric AS
SELECT cohort_a || '/' || scan_a AS scan, cohort_b || '/' || scan_b AS linked_scan, kind, evidence
FROM links WHERE kind <> 'suspected'
UNION ALL
SELECT cohort_b || '/' || scan_b, cohort_a || '/' || scan_a, kind, evidence
FROM links WHERE kind <> 'suspected';

-- The component of every tied scan, named by its smallest member, over links of the given kinds:
-- the smallest name seen so far is handed on until nothing changes.
CREATE MACRO components(kinds) AS TABLE
WITH RECURSIVE smallest (scan, component) USING KEY (scan) AS (
    SELECT DISTINCT scan, scan FROM scan_links_symmetric
    UNION
    SELECT link.linked_scan, min(spread.component)
    FROM smallest AS spread
    JOIN scan_links_symmetric AS link ON link.scan = spread.scan AND list_contains(kinds, link.kind)
    JOIN recurring.smallest AS known ON known.scan = link.linked_scan
    WHERE spread.component < known.component
    GROUP BY link.linked_scan
)
SELECT scan, component FROM smallest;

-- Every scan with its patient, and with its session: scans of one session are one examination under several names.
--   patient_id: the patient: the first name, as cohort/scan_id, among the scans that links join
--   session_id: the examination: the first of its names
CREATE TABLE patients AS
SELECT
    name.cohort,
    name.scan_id,
    coalesce(patient.component, name.cohort || '/' || name.scan_id) AS patient_id,
    coalesce(examination.component, name.cohort || '/' || name.scan_id) AS session_id
FROM scan_names AS name
LEFT JOIN components(['declared', 'same content', 'follow-up']) AS patient
    ON patient.scan = name.cohort || '/' || name.scan_id
LEFT JOIN components(['declared', 'same content']) AS examination
    ON examination.scan = name.cohort || '/' || name.scan_id;

-- One call per patient and rule. Of several scans' calls the best founded counts: an index before a call by the rule
-- itself, that before a call by another rule; then the earliest scan's. Whether the others agree is said, not hidden.
--   methylated: the patient's call under the rule
--   basis: what it is from: index, call by this rule, or call by another rule
--   calls: scans of the patient that have a call
--   conflict: whether those calls differ
--   conflicting_calls: where they differ, each with its scan and its basis
--   label_rule: the rule
CREATE TABLE mgmt AS
WITH found AS MATERIALIZED (
    SELECT
        patients.patient_id, scan_calls.*,
        list_position(['index', 'call by this rule', 'call by another rule'], basis) AS rank
    FROM scan_calls JOIN patients USING (cohort, scan_id)
), chosen AS (
    SELECT
        patient_id,
        label_rule,
        first(methylated ORDER BY rank, scan_id, cohort) AS methylated,
        first(basis ORDER BY rank, scan_id, cohort) AS basis,
        count(*) AS calls,
        bool_or(methylated) <> bool_and(methylated) AS conflict
    FROM found GROUP BY patient_id, label_rule
), conflicting AS ( -- lists are made for few: for all, they would be half of what opening a large lake costs
    SELECT
        patient_id,
        label_rule,
        list(found.cohort || '/' || found.scan_id || ': ' || if(found.methylated, 'methylated', 'unmethylated')
            || ' (' || found.basis || ')' ORDER BY rank, scan_id, cohort) AS calls
    FROM found JOIN chosen USING (patient_id, label_rule)
    WHERE chosen.conflict GROUP BY patient_id, label_rule
)
SELECT chosen.*, coalesce(conflicting.calls, []) AS conflicting_calls
FROM chosen LEFT JOIN conflicting USING (patient_id, label_rule);

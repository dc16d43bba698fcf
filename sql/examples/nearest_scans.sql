-- Which scans are most like a given one, by the T1wCE vectors of one network? Here like the first scan by name.
--   distance: cosine distance of the two vectors; 0 is alike, 1 unrelated
--   methylated: the scan's own call
WITH vector AS NOT MATERIALIZED (
    SELECT cohort, scan_id, "values" FROM features
    WHERE feature_set = (SELECT min(feature_set) FROM vectors) AND modality = 'T1wCE'
), given AS MATERIALIZED (
    SELECT cohort, scan_id FROM vector ORDER BY cohort, scan_id LIMIT 1
), nearest AS (
    SELECT
        given.cohort || '/' || given.scan_id AS given, vector.cohort, vector.scan_id,
        array_cosine_distance(vector."values", of_given."values") AS distance
    FROM given
    JOIN vector AS of_given USING (cohort, scan_id)
    JOIN vector ON (vector.cohort, vector.scan_id) <> (given.cohort, given.scan_id)
    ORDER BY distance, vector.cohort, vector.scan_id LIMIT 10
)
SELECT given, cohort, scan_id, distance, label.methylated
FROM nearest LEFT JOIN scan_labels AS label USING (cohort, scan_id)
ORDER BY distance, cohort, scan_id;

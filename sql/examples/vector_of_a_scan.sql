-- What are the 400 numbers of one scan, by modality? Here of the first scan by name; put another in.
--   values: 400 float32, the scores of the network's last layer
WITH scan AS (
    SELECT feature_set, cohort, scan_id FROM features
    WHERE feature_set = (SELECT min(feature_set) FROM vectors)
        AND cohort = (SELECT min(cohort) FROM vectors WHERE feature_set = (SELECT min(feature_set) FROM vectors))
        AND modality = 'T1wCE'
    ORDER BY scan_id LIMIT 1
)
SELECT feature_set, cohort, scan_id, modality, "values", input_sha256
FROM features JOIN scan USING (feature_set, cohort, scan_id)
ORDER BY modality;

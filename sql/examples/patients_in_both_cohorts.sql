-- Which patients have scans in more than one cohort, and under which names?
--   names: every scan of the patient, as cohort/scan
--   side: the role of each cohort that the patient is in
SELECT
    patient_id,
    list(DISTINCT role ORDER BY role) AS side,
    list(cohort || '/' || scan_id ORDER BY cohort, scan_id) AS names
FROM patients JOIN cohorts USING (cohort)
GROUP BY patient_id
HAVING count(DISTINCT cohort) > 1
ORDER BY patient_id;

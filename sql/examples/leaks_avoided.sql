-- Which external scans would have leaked into the test, had patients been matched by id alone?
--   training_scan: the training scan of the same patient
--   path: every link from the one to the other
SELECT cohort, scan_id, training_cohort || '/' || training_scan_id AS training_scan, kinds, path
FROM leaks_avoided
ORDER BY cohort, scan_id;

-- Which scans look like one person under two names, and what would change if they are?
--   score: how alike the two are; one_patient_by_now: other links already say so
--   leak: one of the two trains and the other one tests
SELECT
    cohort_a || '/' || scan_a AS one, cohort_b || '/' || scan_b AS other,
    score, same_call, same_sex, age_difference, one_patient_by_now, leak, if_true, evidence
FROM suspected_duplicates;

-- Which feature sets are there, of how many scans of each cohort, and what do they rest on?
--   scans: those of the branch that has most; branches: modalities that have vectors
--   megabytes: on disk. Counted from the commit log, so that no vector is read
SELECT
    feature_set, feature_sets.backbone, feature_sets.weights, cohort,
    max(scans) AS scans, count(*) AS branches, round(sum(bytes) / 1e6, 1) AS megabytes
FROM vectors LEFT JOIN feature_sets USING (feature_set)
GROUP BY ALL
ORDER BY feature_set, cohort;

-- Which files does a figure rest on? From the best internal AUC down to the sha256 of every image behind it.
--   auc, experiment, fitted_by: the figure, what it is of, and the run that wrote it
--   extracted_by: the run that made the scan's vectors; ingested_by: the run that read the file
WITH figure AS (
    SELECT experiment, mean AS auc, summaries.run_id AS fitted_by, experiments.feature_set
    FROM summaries JOIN experiments USING (experiment)
    WHERE metric = 'auc' AND summaries.split = 'internal'
    ORDER BY auc DESC, experiment LIMIT 1
), tested AS (
    SELECT DISTINCT cohort, scan_id FROM predictions
    WHERE split = 'internal' AND experiment = (SELECT experiment FROM figure)
), vector AS (
    SELECT cohort, scan_id, any_value(input_sha256) AS input_sha256, min(run_id) AS extracted_by FROM features
    WHERE feature_set IN (SELECT unnest(string_split(feature_set, ' + ')) FROM figure) AND modality = 'T1wCE'
    GROUP BY cohort, scan_id
)
SELECT
    figure.auc, figure.experiment, figure.fitted_by, cohort, scan_id, vector.extracted_by,
    file.role, file.uri, file.sha256, scan.ingested_by
FROM figure
CROSS JOIN tested
LEFT JOIN vector USING (cohort, scan_id)
LEFT JOIN (
    SELECT cohort, scan_id, run_id AS ingested_by, unnest(files) AS file FROM scans
) AS scan USING (cohort, scan_id)
ORDER BY cohort, scan_id, file.role;

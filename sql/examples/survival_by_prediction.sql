-- Do patients whom a model calls methylated live longer?
--   called: by the mean predicted probability of the scan, methylated from 0.5 on
--   median_days: of survival or follow-up; days are those until death only where dead is 1
--   dead: share of the scans whose patient died in that time
WITH called AS (
    SELECT experiment, split, cohort, scan_id, if(avg(probability) >= 0.5, 'methylated', 'unmethylated') AS called
    FROM predictions GROUP BY ALL
)
SELECT
    origin.model, called.experiment, called.split, called.called,
    count(*) AS scans, median(label.survival_days) AS median_days, avg(label.dead::INTEGER) AS dead, origin.basis
FROM called
JOIN experiment_provenance AS origin USING (experiment)
JOIN scan_labels AS label USING (cohort, scan_id)
WHERE label.survival_days IS NOT NULL
GROUP BY ALL
ORDER BY called.experiment, called.split, called.called;

-- Which modality do the networks look at most, in methylated and in unmethylated scans?
--   attention: mean weight over fits and scans; the weights of a scan sum to 1
--   most_attended_in: share of the scans in which it has the largest weight, each fit counted
SELECT
    origin.model, seen.experiment, seen.split, called.methylated, seen.modality,
    round(avg(seen.weight), 4) AS attention,
    round(avg((seen.weight = largest)::INTEGER), 4) AS most_attended_in,
    origin.basis
FROM (
    SELECT *, max(weight) OVER (PARTITION BY experiment, split, repeat, fold, cohort, scan_id) AS largest FROM attention
) AS seen
JOIN predictions AS called USING (experiment, split, repeat, fold, cohort, scan_id)
JOIN experiment_provenance AS origin USING (experiment)
GROUP BY ALL
ORDER BY seen.experiment, seen.split, called.methylated, attention DESC, seen.modality;

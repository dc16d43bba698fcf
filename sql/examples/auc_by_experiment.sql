-- How well does each experiment tell methylation, and how much would selection on the test part have flattered it?
--   auc: mean over folds, with its 95 % interval ci_low to ci_high: inside corrected resampled t, outside bootstrap
--   optimism: what choosing on the test part would have added to it
--   basis: what the vectors rest on
SELECT
    summary.split, origin.model, origin.feature_set, summary.experiment,
    summary.mean AS auc,
    summary.ci_low, summary.ci_high,
    summary.optimism, summary.patients, origin.basis
FROM summaries AS summary JOIN experiment_provenance AS origin USING (experiment)
WHERE summary.metric = 'auc'
ORDER BY summary.split DESC, auc DESC, summary.experiment;

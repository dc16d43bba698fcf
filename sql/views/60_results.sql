-- Results of a study beside what it published: its tables and figures as views, and what each row rests on.

-- One row per experiment: what its figures rest on, in words.
--   basis: what the figures rest on, in words
CREATE VIEW experiment_provenance AS
SELECT
    experiment, model, feature_set, weights, weights_label(weights) AS basis
FROM experiments;

-- One row per row of a study and metric. The study's released script filled "precision" with accuracy, so accuracy is
-- shown as well. The interval to quote, ci_low to ci_high, is of internal figures that of the corrected resampled
-- t, and of external ones that by bootstrap over patients; bootstrap_low to bootstrap_high is the latter for both.
--   published: published mean
--   published_sem: published standard error of the mean
--   reproduced: our mean over folds
--   difference: reproduced less published
--   note: what the row rests on, or why a figure is missing
CREATE VIEW results AS
SELECT
    study."study", study."table", study.position, study.label, study.name, study.split, study.state, study.detail,
    origin.model, origin.weights, origin.basis, origin.feature_set, study.experiment,
    metric.metric,
    metric.published, metric.published_sem,
    summary.mean AS reproduced, summary.sem, summary.ci_low, summary.ci_high, summary.bootstrap_low,
    summary.bootstrap_high,
    summary.optimism,
    summary.mean - metric.published AS difference,
    summary.folds, summary.scans, summary.patients,
    concat_ws('; ',
        CASE study.state
            WHEN 'quoted' THEN 'quoted'
            WHEN 'failed' THEN 'failed: ' || study.detail
            ELSE coalesce(origin.basis, 'its experiment is not in the lake')
        END,
        CASE WHEN study.state = 'done' AND summary.mean IS NULL AND origin.basis IS NOT NULL
            THEN 'no ' || study.split || ' fold shows it' END,
        CASE WHEN study.state <> 'quoted' AND metric.metric = 'precision' AND metric.published IS NOT NULL
            THEN 'the released script filled precision with accuracy' END,
        CASE WHEN metric.metric = 'accuracy' THEN 'not published under its name; see precision' END
    ) AS note
FROM study_rows AS study
CROSS JOIN LATERAL (VALUES
    (1, 'auc', study.auc, study.auc_sem),
    (2, 'precision', study.precision, study.precision_sem),
    (3, 'accuracy', NULL, NULL),
    (4, 'recall', study.recall, study.recall_sem)
) AS metric (place, metric, published, published_sem)
LEFT JOIN experiment_provenance AS origin ON study.state = 'done' AND origin.experiment = study.experiment
LEFT JOIN summaries AS summary
    ON summary.experiment = origin.experiment AND summary.split = study.split AND summary.metric = metric.metric
WHERE metric.metric <> 'accuracy' OR study.state <> 'quoted'
ORDER BY study."study", study.position, metric.place;

-- Table 1 of the study: rows of results that belong to it.
CREATE VIEW table_1 AS SELECT * FROM results WHERE "table" = 'table_1';
-- Table 2 of the study: rows of results that belong to it.
CREATE VIEW table_2 AS SELECT * FROM results WHERE "table" = 'table_2';
-- Table 3 of the study: rows of results that belong to it.
CREATE VIEW table_3 AS SELECT * FROM results WHERE "table" = 'table_3';
-- Table 4 of the study: rows of results that belong to it.
CREATE VIEW table_4 AS SELECT * FROM results WHERE "table" = 'table_4';
-- Figure 7 of the study: rows of results that belong to it.
CREATE VIEW figure_7 AS SELECT * FROM results WHERE "table" IN ('figure_7a', 'figure_7b');

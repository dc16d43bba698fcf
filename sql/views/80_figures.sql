-- What the figures of a study draw: one view per figure, with all that is needed to draw it again.

-- Figure 2. One row per box of the flowchart of patients, cohort by cohort from the top: how many scans remain after a
-- step, what was left out at it and why, which leaks were stopped, and who is left for training and testing. Calls under
-- both rules are counted among scans that remain.
--   step: step of the flowchart
--   kind: remaining, left out, leak stopped, or final
--   what: what the box says
--   scans: scans that it counts
--   methylated_brats21: those methylated by BraTS21's rule; null of scans left out
--   methylated_ucsf: those methylated by UCSF's rule; null of scans left out
--   basis: SYNTHETIC scans, where the cohort has some; else empty
CREATE VIEW figure_2 AS
WITH fates AS MATERIALIZED (
    SELECT fate.cohort, fate.step, fate.reason, label.methylated_brats21, label.methylated_ucsf
    FROM scan_status AS fate LEFT JOIN labelled AS label USING (cohort, scan_id)
), of_cohort AS (
    SELECT cohorts.cohort, cohorts.role,
        CASE WHEN bool_or(list_contains(scans.warnings, 'synthetic')) THEN 'SYNTHETIC scans' ELSE '' END AS basis
    FROM cohorts LEFT JOIN scans USING (cohort) GROUP BY ALL
), boxes AS (
    SELECT
        flow.cohort, flow.step, 1 AS place, if(flow.step = 5, 'final', 'remaining') AS kind,
        flow.remaining_are AS what, flow.remaining AS scans,
        count(*) FILTER (fates.step > flow.step AND fates.methylated_brats21) AS methylated_brats21,
        count(*) FILTER (fates.step > flow.step AND fates.methylated_ucsf) AS methylated_ucsf
    FROM flowchart AS flow LEFT JOIN fates USING (cohort) GROUP BY ALL
    UNION ALL
    SELECT cohort, step, 0, 'left out', reason, count(*), NULL, NULL
    FROM fates WHERE reason IS NOT NULL AND reason <> 'patient in training through a link' GROUP BY ALL
    UNION ALL
    SELECT cohort, 3, 0, 'leak stopped', 'patient in training under another name', count(*), NULL, NULL
    FROM leaks_avoided GROUP BY ALL
    UNION ALL
    SELECT cohort, 5, 1, 'final', 'vectors with an MGMT call', count(*) FILTER (known),
        count(*) FILTER (known AND methylated_brats21), count(*) FILTER (known AND methylated_ucsf)
    FROM labelled WHERE role = 'released' GROUP BY cohort
)
SELECT cohort, of_cohort.role, step, kind, what, scans, methylated_brats21, methylated_ucsf, of_cohort.basis
FROM boxes JOIN of_cohort USING (cohort)
ORDER BY list_position(['training', 'external', 'released'], of_cohort.role), cohort, step, place, scans DESC, what;

-- One row per study and kind of model: the first finished row of the study's Table 1 with it, or of its external
-- validation where Table 1 was not run. Figures of single models are of these rows.
CREATE VIEW leading_rows AS
SELECT study."study", study.name, study.label, study.position, study.experiment, origin.model, origin.basis
FROM study_rows AS study JOIN experiment_provenance AS origin USING (experiment)
WHERE study.state = 'done' AND study."table" IN ('table_1', 'figure_7b')
QUALIFY row_number() OVER (
    PARTITION BY study."study", origin.model ORDER BY study."table" = 'figure_7b', study.position
) = 1;

-- One row per scan and branch of the first of a study's leading rows that weighs its branches: the mean over fits of the
-- weight, and of the predicted probability.
--   probability: predicted probability of methylation, mean over fits
--   weight: attention received by the branch, mean over fits
CREATE VIEW scan_attention AS
WITH leader AS (
    SELECT * EXCLUDE (position, model) FROM leading_rows
    WHERE experiment IN (SELECT experiment FROM attention)
    QUALIFY row_number() OVER (PARTITION BY study ORDER BY position) = 1
), predicted AS (
    SELECT experiment, split, cohort, scan_id, patient_id, methylated,
        avg(probability ORDER BY repeat, fold) AS probability
    FROM predictions WHERE experiment IN (SELECT experiment FROM leader) GROUP BY ALL
), weighed AS (
    SELECT experiment, split, cohort, scan_id, modality, avg(weight ORDER BY repeat, fold) AS weight
    FROM attention WHERE experiment IN (SELECT experiment FROM leader) GROUP BY ALL
)
SELECT
    leader."study", leader.name, leader.label, leader.experiment, split, cohort, scan_id, predicted.patient_id,
    predicted.methylated, predicted.probability, weighed.modality, weighed.weight, leader.basis
FROM leader JOIN predicted USING (experiment) JOIN weighed USING (experiment, split, cohort, scan_id);

-- Figure 3. One row per branch of three example scans of the internal test parts, which are chosen by rule: the surest
-- right prediction of either class, and the surest wrong one.
--   chosen_as: why the scan is an example: the surest right one of a class, or the surest wrong one
CREATE VIEW figure_3 AS
WITH judged AS (
    SELECT DISTINCT ON ("study", cohort, scan_id) "study", cohort, scan_id, probability,
        CASE
            WHEN (probability >= 0.5) <> methylated THEN 'surest wrong'
            WHEN methylated THEN 'surest right, methylated'
            ELSE 'surest right, unmethylated'
        END AS chosen_as
    FROM scan_attention WHERE split = 'internal'
), chosen AS (
    SELECT "study", cohort, scan_id, chosen_as FROM judged
    QUALIFY row_number() OVER (
        PARTITION BY "study", chosen_as ORDER BY abs(probability - 0.5) DESC, cohort, scan_id
    ) = 1
)
SELECT chosen.chosen_as, found.* FROM chosen JOIN scan_attention AS found USING ("study", cohort, scan_id)
WHERE found.split = 'internal'
ORDER BY found."study", chosen.chosen_as = 'surest wrong', chosen.chosen_as,
    list_position(['FLAIR', 'T1', 'T1wCE', 'T2', 'DeltaT1'], found.modality), found.modality;

-- Figure 4. One row per threshold of a leading row's decision curves: net benefit of following the model, of treating
-- everybody and nobody. Thresholds from 0.2 to 0.8 are marked sensible: beyond them hardly any answer of a model would
-- change what a doctor does.
--   threshold: probability from which on one would treat
--   net_benefit: net benefit of following the model
--   treat_none: net benefit of treating nobody: 0
--   sensible: whether the threshold is from 0.2 to 0.8
CREATE VIEW figure_4 AS
SELECT
    curves."study", curves.name, leader.label, leader.model, curves.split, curves.x AS threshold,
    curves.y AS net_benefit, curves.treat_all, 0.0::DOUBLE AS treat_none, curves.x BETWEEN 0.2 AND 0.8 AS sensible,
    leader.basis
FROM curves JOIN leading_rows AS leader USING ("study", name)
WHERE curves.curve = 'decision'
ORDER BY curves."study", curves.split DESC, leader.position, curves.point;

-- Figure 5. One row per split and branch: the mean over patients of the attention that the branch received, its 95 %
-- interval (normal, patients being the unit), and what it would be if all branches counted alike.
--   mean: mean attention of the branch over patients
--   ci_low: 95 % interval of the mean
--   ci_high: its upper end
--   uniform: attention if all branches counted alike
--   patients: patients that the mean is over
CREATE VIEW figure_5 AS
WITH of_patient AS (
    SELECT "study", name, label, split, modality, basis, patient_id, avg(weight ORDER BY cohort, scan_id) AS weight
    FROM scan_attention GROUP BY ALL
), of_branch AS (
    SELECT "study", name, label, split, modality, basis, count(*) AS patients,
        avg(weight ORDER BY patient_id) AS mean, stddev_samp(weight ORDER BY patient_id) / sqrt(count(*)) AS error
    FROM of_patient GROUP BY ALL
)
SELECT
    "study", name, label, split, modality, mean, mean - 1.96 * error AS ci_low, mean + 1.96 * error AS ci_high,
    1 / count(*) OVER (PARTITION BY "study", split) AS uniform, patients, basis
FROM of_branch
ORDER BY "study", split DESC, list_position(['FLAIR', 'T1', 'T1wCE', 'T2', 'DeltaT1'], modality), modality;

-- One row per point of a leading row's ROC curves, with the band at it, and with the area under the curve: the AUC of
-- one mean prediction per scan, which is not the mean of the folds' AUCs that tables of results show.
--   false_positive_rate: 1 − specificity
--   true_positive_rate: sensitivity at it
--   auc: area under the curve, of one mean prediction per scan
--   auc_ci_low: 95 % interval of the AUC, by bootstrap over patients
--   auc_ci_high: its upper end
--   methylated: methylated scans
--   ci_low: 95 % interval of the true positive rate
--   ci_high: its upper end
--   scans: scans that the curve is over
--   patients: whose patients are so many
CREATE VIEW figure_roc AS
SELECT
    roc."study", roc.name, leader.label, leader.model, roc.split,
    roc.x AS false_positive_rate, roc.y AS true_positive_rate, roc.ci_low, roc.ci_high,
    everybody.auc, everybody.ci_low AS auc_ci_low, everybody.ci_high AS auc_ci_high, everybody.scans, everybody.patients,
    everybody.positive AS methylated, leader.basis
FROM roc
JOIN leading_rows AS leader USING ("study", name)
LEFT JOIN subgroups AS everybody
    ON everybody."study" = roc."study" AND everybody.name = roc.name AND everybody.split = roc.split
    AND everybody.attribute = 'all'
ORDER BY roc."study", leader.position, roc.split DESC, roc.point;

-- One row per bin of a leading row's calibration curves (curve: reliability), with Wilson's 95 % interval of the share
-- methylated; and one per twentieth of the scale (curve: histogram), with how many scans were given a probability in it.
--   curve: reliability or histogram
--   predicted: mean predicted probability of the bin; of a histogram, the middle of the twentieth
--   observed: share methylated in the bin
--   ci_low: 95 % interval of that share
--   ci_high: its upper end
--   scans: scans in the bin
CREATE VIEW figure_calibration AS
WITH bins AS (
    SELECT
        curves."study", curves.name, curves.split, 'reliability' AS curve, curves.x AS predicted, curves.y AS observed,
        (curves.y + 1.96 ** 2 / (2 * curves.scans)) / (1 + 1.96 ** 2 / curves.scans) AS middle,
        1.96 / (1 + 1.96 ** 2 / curves.scans)
            * sqrt(curves.y * (1 - curves.y) / curves.scans + 1.96 ** 2 / (4 * curves.scans ** 2)) AS half,
        curves.scans, curves.error
    FROM curves WHERE curves.curve = 'calibration'
), predicted AS (
    SELECT leader."study", leader.name, given.split, avg(given.probability ORDER BY repeat, fold) AS probability
    FROM leading_rows AS leader JOIN predictions AS given USING (experiment)
    GROUP BY leader."study", leader.name, given.split, given.cohort, given.scan_id
), twentieths AS (
    SELECT "study", name, split, 'histogram' AS curve, (least(floor(probability * 20), 19) + 0.5) / 20 AS predicted,
        NULL, NULL, NULL, count(*), NULL
    FROM predicted GROUP BY ALL
)
SELECT
    found."study", found.name, leader.label, leader.model, found.split, found.curve, found.predicted, found.observed,
    greatest(found.middle - found.half, 0) AS ci_low, least(found.middle + found.half, 1) AS ci_high,
    found.scans, found.error, leader.basis
FROM (FROM bins UNION ALL FROM twentieths) AS found
JOIN leading_rows AS leader USING ("study", name)
ORDER BY found."study", leader.position, found.split DESC, found.curve DESC, found.predicted;

-- One row per row of a study: its AUC as reproduced, with the 95 % interval that tables show (internal, corrected
-- resampled t; external, bootstrap over patients), as published, and why there is none.
--   ci_low: 95 % interval of the reproduced AUC
--   ci_high: its upper end
CREATE VIEW figure_forest AS
SELECT
    "study", "table", position, name, label, split, state, reproduced,
    ci_low, ci_high,
    published, published_sem, folds, scans, patients, coalesce(basis, '') AS basis, note
FROM results WHERE metric = 'auc'
ORDER BY "study", position;

-- One row per group of patients of the first of a study's leading rows, with the AUC in it; the group all holds everyone.
--   methylated: methylated scans in the group
CREATE VIEW figure_subgroups AS
SELECT
    found."study", found.name, leader.label, found.split, found.attribute, found."group", found.scans, found.patients,
    found.positive AS methylated, found.auc, found.ci_low, found.ci_high, found.note, leader.basis
FROM subgroups AS found
JOIN (
    SELECT * FROM leading_rows QUALIFY row_number() OVER (PARTITION BY "study" ORDER BY position) = 1
) AS leader USING ("study", name)
ORDER BY found."study", found.split DESC,
    list_position(['all', 'site', 'sex', 'age', 'grade', 'diagnosis'], found.attribute), found."group";

-- Figure 6. One row per pair of networks, all modalities together: the mean concordance of their features, with a 95 %
-- interval, and the mean of the published one. What is published rests on nothing here.
CREATE VIEW figure_6 AS
SELECT first, second, first_network, second_network, mean, ci_low, ci_high, features, scans, patients, published,
    if(mean IS NULL, '', basis) AS basis, note
FROM ccc_summary WHERE modality = 'all'
ORDER BY first IS NULL, first_network, second_network, first, second;

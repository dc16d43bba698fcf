-- What did the study publish, and what came out here?
--   published, reproduced: mean AUC over folds; ci_low to ci_high is our 95 % interval
--   inside: whether the published figure lies in that interval
--   note: what our figure rests on, or why there is none
SELECT
    "table", label, split, published, reproduced, difference,
    ci_low, ci_high,
    published BETWEEN ci_low AND ci_high AS inside,
    note
FROM results
WHERE metric = 'auc' AND published IS NOT NULL
ORDER BY "study", position;

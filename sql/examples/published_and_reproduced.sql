-- What did the study publish, and what came out here?
--   published, reproduced: mean AUC over folds; low to high is our 95 % interval
--   inside: whether the published figure lies in that interval
--   note: what our figure rests on, or why there is none
SELECT
    "table", label, split, published, reproduced, difference,
    coalesce(corrected_low, low) AS low, coalesce(corrected_high, high) AS high,
    published BETWEEN coalesce(corrected_low, low) AND coalesce(corrected_high, high) AS inside,
    note
FROM results
WHERE metric = 'auc' AND published IS NOT NULL
ORDER BY "study", position;

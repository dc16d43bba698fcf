-- Which patients does every model get wrong, and how sure are the models of it?
--   models: experiments that tested the patient in a fold
--   probability: mean predicted probability of methylation; least and most over experiments
WITH by_experiment AS (
    SELECT experiment, patient_id, methylated, avg(probability ORDER BY repeat, fold, scan_id) AS probability
    FROM predictions WHERE split = 'internal'
    GROUP BY ALL
)
SELECT
    patient_id, methylated, count(*) AS models,
    avg(probability ORDER BY experiment) AS probability, min(probability) AS least, max(probability) AS most
FROM by_experiment
GROUP BY patient_id, methylated
HAVING bool_and((probability >= 0.5) <> methylated)
ORDER BY abs(avg(probability ORDER BY experiment) - 0.5) DESC, patient_id;

-- What was done to the lake lately, how long did it take, and how did it end?
--   minutes: from start to end; none while it runs, or if it was killed
SELECT started, command, outcome, round(epoch(ended - started) / 60, 1) AS minutes, code_version, arguments, run_id
FROM runs
ORDER BY started DESC
LIMIT 20;

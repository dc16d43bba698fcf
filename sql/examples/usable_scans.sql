-- How many scans of each cohort can be used, and why can the others not?
--   remaining: scans that are left after the step; of the last step they are usable
--   left_out, why: scans that the step costs, and the reasons with how many each
SELECT cohort, step, remaining_are, remaining, left_out, why
FROM flowchart
ORDER BY cohort, step;

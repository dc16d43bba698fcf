-- Does a model do better in some groups of patients than in others?
--   auc: of the mean prediction per scan, with the group's own 95 % interval; not corrected for there being many groups
--   positive: methylated scans of the group
SELECT subgroups.name AS "row", split, attribute, "group", auc, ci_low, ci_high, scans, patients, positive, subgroups.note
FROM subgroups
ORDER BY subgroups."study", subgroups.name, split, attribute, "group";

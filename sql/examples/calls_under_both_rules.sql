-- How many scans of each split change their call when the other cohort's rule is used?
--   methylated_brats21, methylated_ucsf: scans called methylated from 2, and from 1 methylated CpG site on
--   differ: scans on which the two rules disagree
SELECT
    split, count(*) AS scans,
    count(*) FILTER (methylated_brats21) AS methylated_brats21,
    count(*) FILTER (methylated_ucsf) AS methylated_ucsf,
    count(*) FILTER (methylated_brats21 <> methylated_ucsf) AS differ
FROM (
    SELECT 'training' AS split, methylated_brats21, methylated_ucsf FROM training
    UNION ALL SELECT 'external', methylated_brats21, methylated_ucsf FROM external
    UNION ALL SELECT 'external_strict', methylated_brats21, methylated_ucsf FROM external_strict
)
GROUP BY split
ORDER BY split DESC;

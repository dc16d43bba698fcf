-- Where two sources label one examination differently, do their rules explain it?
--   rule_a, status_a, rule_b, status_b: the two rules, and the call each source made
--   indices: the methylated CpG sites of these scans
--   explained: conflicts in which both are right by their own rule
SELECT
    label_rule_a AS rule_a, status_a, label_rule_b AS rule_b, status_b,
    count(*) AS conflicts,
    count(*) FILTER (explained_by_rules) AS explained,
    list(DISTINCT mgmt_index ORDER BY mgmt_index) AS indices
FROM label_conflicts
GROUP BY ALL
ORDER BY conflicts DESC, rule_a, status_a, rule_b;

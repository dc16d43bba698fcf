-- Labels: from what the sources say to one call per scan, and per patient, under each label rule. The catalog hands
-- the rules of lake/tables.py over as a variable.

-- One row per label rule.
--   label_rule: name of the rule
--   fewest_sites: from so many methylated CpG sites on, the rule calls a tumour methylated
CREATE TABLE label_rules AS
SELECT unnest(map_keys(rules)) AS label_rule, unnest(map_values(rules)) AS fewest_sites
FROM (SELECT getvariable('label_rules')::JSON::MAP(VARCHAR, INTEGER) AS rules);

-- One row per labelled scan. Where several releases label it, the last by name counts.
--   known: whether the call is methylated or unmethylated
--   methylated: the call as the source made it; null where it is not known
--   sources_disagree: whether releases that label the scan differ in call or index
CREATE VIEW scan_labels AS
WITH several AS ( -- few scans: windows over all of them would take twice as long
    SELECT
        cohort, scan_id, max(source) AS latest, count(DISTINCT (mgmt_status, mgmt_index)) > 1 AS disagree
    FROM labels GROUP BY cohort, scan_id HAVING count(*) > 1
)
SELECT
    labels.*,
    mgmt_status IN ('methylated', 'unmethylated') AS known,
    CASE mgmt_status WHEN 'methylated' THEN true WHEN 'unmethylated' THEN false END AS methylated,
    coalesce(several.disagree, false) AS sources_disagree
FROM labels LEFT JOIN several USING (cohort, scan_id)
WHERE labels.source = coalesce(several.latest, labels.source);

-- One row per scan with a known call and label rule: the call under that rule. An index decides under any rule; without
-- one, a call stands as it was made.
--   methylated: the call under the rule
--   basis: what it is from: index, call by this rule, or call by another rule
--   label_rule: the rule
CREATE VIEW scan_calls AS
SELECT
    scan.cohort,
    scan.scan_id,
    rule.label_rule,
    coalesce(scan.mgmt_index >= rule.fewest_sites, scan.methylated) AS methylated,
    CASE
        WHEN scan.mgmt_index IS NOT NULL THEN 'index'
        WHEN scan.label_rule = rule.label_rule THEN 'call by this rule'
        ELSE 'call by another rule'
    END AS basis
FROM scan_labels AS scan
CROSS JOIN label_rules AS rule
WHERE scan.known;

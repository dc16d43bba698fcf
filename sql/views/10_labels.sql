-- Labels: from what the sources say to one call per scan, and per patient, under each label rule. The catalog hands
-- the rules of gliolake/schema/imaging.py over as a variable.

-- One row per label rule.
--   label_rule: name of the rule
--   min_methylated_sites: from so many methylated CpG sites on, the rule calls a tumour methylated
CREATE TABLE label_rules AS
SELECT unnest(map_keys(rules)) AS label_rule, unnest(map_values(rules)) AS min_methylated_sites
FROM (SELECT getvariable('label_rules')::JSON::MAP(VARCHAR, INTEGER) AS rules);

-- One row per scan that several sources label, as in scan_labels. Few scans are, so it is computed once: each view
-- that asks for labels would otherwise plan all of it anew.
--   sources_disagree: whether sources that know it differ in call or index
CREATE TABLE merged_labels AS
WITH several AS (
    SELECT cohort, scan_id FROM labels GROUP BY cohort, scan_id HAVING count(*) > 1
), ranked AS (
    SELECT
        labels.*,
        row_number() OVER (PARTITION BY cohort, scan_id ORDER BY coalesce(source_order, 0), source) AS recency,
        CASE mgmt_status WHEN 'unknown' THEN 0 WHEN 'indeterminate' THEN 1 ELSE 2 END AS knows
    FROM labels JOIN several USING (cohort, scan_id)
), chosen AS (
    SELECT * FROM ranked QUALIFY row_number() OVER (PARTITION BY cohort, scan_id ORDER BY knows DESC, recency DESC) = 1
), together AS (
    SELECT
        cohort, scan_id,
        arg_max(ranked.mgmt_index, ranked.recency)
            FILTER (ranked.mgmt_status = chosen.mgmt_status) AS mgmt_index,
        arg_max(ranked.declared_cohort, ranked.recency) FILTER (ranked.declared_id IS NOT NULL) AS declared_cohort,
        arg_max(ranked.declared_id, ranked.recency) AS declared_id,
        arg_max(ranked.age, ranked.recency) AS age,
        arg_max(ranked.sex, ranked.recency) AS sex,
        arg_max(ranked.grade, ranked.recency) AS grade,
        arg_max(ranked.diagnosis, ranked.recency) AS diagnosis,
        arg_max(ranked.idh, ranked.recency) AS idh,
        arg_max(ranked.codeletion_1p19q, ranked.recency) AS codeletion_1p19q,
        arg_max(ranked.dead, ranked.recency) AS dead,
        arg_max(ranked.survival_days, ranked.recency) AS survival_days,
        arg_max(ranked.resection, ranked.recency) AS resection,
        arg_max(ranked.biopsied_before_imaging, ranked.recency) AS biopsied_before_imaging,
        arg_max(ranked.site, ranked.recency) AS site,
        count(DISTINCT ranked.mgmt_status) FILTER (ranked.knows > 0) > 1
            OR count(DISTINCT ranked.mgmt_index) > 1 AS sources_disagree
    FROM ranked JOIN chosen USING (cohort, scan_id)
    GROUP BY cohort, scan_id
)
SELECT
    chosen.* EXCLUDE (recency, knows)
    REPLACE (
        coalesce(together.mgmt_index, chosen.mgmt_index) AS mgmt_index, together.declared_cohort AS declared_cohort,
        together.declared_id AS declared_id, together.age AS age, together.sex AS sex, together.grade AS grade,
        together.diagnosis AS diagnosis, together.idh AS idh, together.codeletion_1p19q AS codeletion_1p19q,
        together.dead AS dead, together.survival_days AS survival_days, together.resection AS resection,
        together.biopsied_before_imaging AS biopsied_before_imaging, together.site AS site
    ),
    together.sources_disagree
FROM chosen JOIN together USING (cohort, scan_id);

-- One row per labelled scan. Where several sources label it, each field is from the last of them that knows it: what
-- is known is never hidden by what is not. Call, rule and place are from one source; an index from another counts where
-- that source makes the same call.
--   known: whether the call is methylated or unmethylated
--   methylated: the call as the source made it; null where it is not known
--   sources_disagree: whether sources that know it differ in call or index
CREATE VIEW scan_labels AS
SELECT
    * EXCLUDE (sources_disagree),
    mgmt_status IN ('methylated', 'unmethylated') AS known,
    CASE mgmt_status WHEN 'methylated' THEN true WHEN 'unmethylated' THEN false END AS methylated,
    sources_disagree
FROM (
    SELECT *, false AS sources_disagree FROM labels ANTI JOIN merged_labels USING (cohort, scan_id)
    UNION ALL BY NAME
    SELECT * FROM merged_labels
);

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
    coalesce(scan.mgmt_index >= rule.min_methylated_sites, scan.methylated) AS methylated,
    CASE
        WHEN scan.mgmt_index IS NOT NULL THEN 'index'
        WHEN scan.label_rule = rule.label_rule THEN 'call by this rule'
        ELSE 'call by another rule'
    END AS basis
FROM scan_labels AS scan
CROSS JOIN label_rules AS rule
WHERE scan.known;

-- What the splits cannot yet know: patients that two cohorts share under names which nothing links, labels that were
-- made by another rule, and duplicates for which no search was made. The catalog hands the collections of
-- gliolake/collections.py over as a variable.

-- The public collections that each cohort's scans are from: what its description says, or else what the names of its
-- labelled scans, or its own name, show; and what those collections were put together from.
--   collection: name of a collection, of TCIA or of a challenge
--   evidence: what shows it: the description, scan ids, or the cohort's name
CREATE TABLE cohort_collections AS
WITH known AS (
    SELECT unnest(map_keys(each)) AS collection, unnest(map_values(each)) AS about
    FROM (SELECT getvariable('collections')::JSON::MAP(VARCHAR, STRUCT(ids VARCHAR, cohorts VARCHAR)) AS each)
), parts AS (
    SELECT unnest(map_keys(each)) AS whole, unnest(map_values(each)) AS parts
    FROM (SELECT getvariable('collection_parts')::JSON::MAP(VARCHAR, VARCHAR[]) AS each)
), samples AS ( -- a hundred names of a cohort show how it names its scans
    SELECT cohort, min(scan_id, 100) AS names FROM labelled WHERE known GROUP BY cohort
), direct AS (
    SELECT cohort, unnest(collections) AS collection, 'description' AS evidence
    FROM cohorts WHERE collections IS NOT NULL
    UNION
    SELECT samples.cohort, known.collection, 'scan ids'
    FROM samples JOIN cohorts USING (cohort), known
    WHERE cohorts.collections IS NULL
        AND 2 * len(list_filter(samples.names, lambda id: regexp_full_match(id, about.ids, 'i'))) >= len(samples.names)
    UNION
    SELECT cohort, collection, 'name of the cohort'
    FROM cohorts, known
    WHERE collections IS NULL AND about.cohorts <> '' AND regexp_full_match(cohort, about.cohorts, 'i')
)
SELECT cohort, coalesce(part.collection, direct.collection) AS collection, min(evidence) AS evidence
FROM direct
LEFT JOIN (SELECT whole, unnest(parts) AS collection FROM parts) AS part ON part.whole = direct.collection
GROUP BY ALL;

-- Pairs of cohorts that hold scans of one collection, of which one trains and the other trains or tests, and between
-- which no link is declared: who is in both cannot be told, so a patient may be on both sides.
--   training_cohort: the cohort that trains
--   cohort: the cohort that tests, or trains too
--   split: what the second cohort does: training or external
--   collections: what both hold scans of
--   scans: scans of the second cohort in that split
CREATE TABLE unlinked_cohorts AS
WITH used AS (
    SELECT cohort, 'training' AS split, count(*) AS scans FROM training_scans GROUP BY cohort
    UNION ALL
    SELECT cohort, 'external', count(*) FROM external GROUP BY cohort
), linked AS (
    SELECT DISTINCT cohort_a, cohort_b FROM links WHERE kind = 'declared'
)
SELECT
    trains.cohort AS training_cohort, used.cohort, used.split, list_sort(list(mine.collection)) AS collections,
    any_value(used.scans) AS scans
FROM used AS trains
JOIN cohort_collections AS mine ON mine.cohort = trains.cohort
JOIN cohort_collections AS theirs ON theirs.collection = mine.collection
JOIN used ON used.cohort = theirs.cohort
WHERE trains.split = 'training'
    AND (used.split = 'external' OR trains.cohort < used.cohort)
    AND trains.cohort <> used.cohort
    AND NOT EXISTS (
        SELECT 1 FROM linked
        WHERE (cohort_a, cohort_b) IN ((trains.cohort, used.cohort), (used.cohort, trains.cohort))
    )
GROUP BY trains.cohort, used.cohort, used.split;

-- On what the calls of each split rest under each rule. A call by another rule, without an index, stands as it was made.
--   split: training or external
--   basis: what a call is from: index, call by this rule, or call by another rule
--   patients: how many patients of the split have such a call
CREATE VIEW label_bases AS
SELECT mgmt.label_rule, split, mgmt.basis, count(*) AS patients
FROM (
    SELECT 'training' AS split, patient_id FROM training
    UNION ALL
    SELECT 'external', patient_id FROM external
) JOIN mgmt USING (patient_id)
GROUP BY ALL ORDER BY ALL;

-- How many scans of each split the last search for duplicates compared (gliolake suspects).
--   split: training or external
--   scans: scans of the cohort in the split
--   compared: scans of the cohort that the search compared; 0 where none was made
--   searched_by: the run that searched; null where none did
CREATE VIEW duplicate_searches AS
WITH newest AS (
    SELECT run_id, arguments FROM runs WHERE command = 'suspects' AND outcome = 'done'
    QUALIFY row_number() OVER (ORDER BY started DESC, run_id DESC) = 1
)
SELECT
    used.split, used.cohort, used.scans,
    least(used.scans, coalesce((newest.arguments->('$.compared."' || used.cohort || '"'))::BIGINT, 0)) AS compared,
    newest.run_id AS searched_by
FROM (
    SELECT 'training' AS split, cohort, count(*) AS scans FROM training GROUP BY cohort
    UNION ALL
    SELECT 'external', cohort, count(*) FROM external GROUP BY cohort
    UNION ALL -- released vectors train too, and name no scans that could be compared
    SELECT 'training', cohort, count(*) FROM labelled WHERE role = 'released' AND known GROUP BY cohort
) AS used
LEFT JOIN newest ON true
ORDER BY ALL;

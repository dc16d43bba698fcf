-- Agreement of feature sets: Lin's concordance, beside the published Table S4. The catalog hands the names of features
-- over as a variable.

-- One row per feature: the class of Kinetics-400 whose score it is. None where GluonCV, which lists them, is missing.
--   feature: place in the vector, from 1
--   label: name of the class
CREATE TABLE kinetics_labels AS
SELECT unnest(range(1, len(labels) + 1))::INTEGER AS feature, unnest(labels) AS label
FROM (SELECT getvariable('kinetics_labels')::JSON::VARCHAR[] AS labels);

-- One row per scan: its patient, and which of the patient's examinations it is of. Scans of one session are one
-- examination under several names.
--   examination: by the day of the visit, from 1
CREATE VIEW examinations AS
SELECT
    cohort, scan_id, patient_id, session_id,
    dense_rank() OVER (PARTITION BY patient_id ORDER BY visit_day, session_id) AS examination
FROM (
    SELECT
        patients.*,
        min(coalesce(scans.visit_day, try_cast(regexp_extract(scan_id, '_FU(\d+)d$', 1) AS INTEGER), 0))
            OVER (PARTITION BY session_id) AS visit_day
    FROM patients LEFT JOIN scans USING (cohort, scan_id)
);

-- One row per backbone that the study has a name of its own for: that name (of its text's IRCSN, the model that it names).
CREATE VIEW study_networks AS
SELECT backbone, network FROM (VALUES
    ('vivit_b_16x2', 'ViViT'),
    ('vivit_released', 'ViViT'),
    ('slowfast_4x16_resnet50_kinetics400', 'SlowFast'),
    ('r2plus1d_v2_resnet152_kinetics400', 'IRCSN'),
    ('i3d_nl10_resnet101_v1_kinetics400', 'I3D')
) AS known (backbone, network);

-- One row per feature set: its network, by the study's name where it has one, and what its vectors rest on, in words.
-- One cohort with synthetic scans makes the whole set synthetic.
CREATE VIEW agreement_sides AS
SELECT
    feature_set, backbone, weights, list_position(['trained', 'released', 'untrained', 'random'], weights) AS meaning,
    coalesce(network, backbone) AS network, lower(network) AS published_as,
    CASE weights
        WHEN 'trained' THEN 'trained weights'
        WHEN 'released' THEN 'the study''s released vectors'
        WHEN 'random' THEN 'random weights: no training went into the vectors'
        ELSE weights || ' weights'
    END AS basis,
    feature_set IN (
        SELECT vectors.feature_set FROM vectors JOIN scans USING (cohort) WHERE list_contains(scans.warnings, 'synthetic')
    ) AS synthetic
FROM feature_sets LEFT JOIN study_networks USING (backbone);

-- One row per pair of networks in a published table: its mean over features.
CREATE VIEW published_agreements AS
SELECT
    source, first AS first_published, second AS second_published,
    coalesce(any_value(one.network), first) AS first_network, coalesce(any_value(two.network), second) AS second_network,
    avg(ccc ORDER BY feature) AS published, count(DISTINCT feature) AS features
FROM published_ccc
LEFT JOIN (SELECT DISTINCT network FROM study_networks) AS one ON lower(one.network) = first
LEFT JOIN (SELECT DISTINCT network FROM study_networks) AS two ON lower(two.network) = second
GROUP BY source, first, second;

-- Figure 6. One row per pair of feature sets and modality, all of them together included: the mean concordance over
-- features with a 95 % interval, and the published mean of the same two networks, which is not told by modality. Where
-- first and second are one feature set, the first and second examination of the same patients are compared. A published
-- pair that the lake has no vectors of both of has no feature sets and no mean.
CREATE VIEW ccc_summary AS
WITH ours AS (
    SELECT
        found.first, found.second, one.network AS first_network, two.network AS second_network, found.modality,
        found.mean, found.low, found.high, found.features, found.scans, found.patients,
        printed.published, printed.source, one.published_as AS first_published, two.published_as AS second_published,
        concat_ws('; ',
            CASE WHEN one.synthetic OR two.synthetic THEN 'SYNTHETIC scans' END,
            one.basis,
            CASE WHEN two.basis <> one.basis THEN two.basis END
        ) AS basis,
        concat_ws('; ',
            CASE WHEN found.first = found.second THEN 'first and second examination of the same patients'
                WHEN one.backbone = two.backbone THEN 'one network, two recipes' END,
            CASE WHEN printed.published IS NOT NULL THEN 'published: mean over features of ' || printed.source END
        ) AS note
    FROM agreements AS found
    JOIN agreement_sides AS one ON one.feature_set = found.first
    JOIN agreement_sides AS two ON two.feature_set = found.second
    LEFT JOIN published_agreements AS printed
        ON found.modality = 'all' AND found.first <> found.second
        AND (printed.first_published, printed.second_published)
            IN ((one.published_as, two.published_as), (two.published_as, one.published_as))
)
SELECT * EXCLUDE (source, first_published, second_published) FROM ours
UNION ALL
SELECT
    NULL, NULL, printed.first_network, printed.second_network, 'all', NULL, NULL, NULL, NULL, NULL, NULL,
    printed.published, 'published',
    'published: mean over features of ' || printed.source || '; the lake has not compared vectors of these two'
FROM published_agreements AS printed
WHERE NOT EXISTS (
    FROM ours
    WHERE (printed.first_published, printed.second_published)
        IN ((ours.first_published, ours.second_published), (ours.second_published, ours.first_published))
)
ORDER BY first IS NULL, first, second, first_network, second_network,
    list_position(['FLAIR', 'T1', 'T1wCE', 'T2', 'DeltaT1', 'all'], modality);

-- One row per feature: its class of Kinetics-400, the published concordance of each pair of networks, and the lake's own
-- beside it: the mean over modalities. Where several pairs of feature sets are of the same two networks, those whose
-- weights mean most are shown, the first of them by name.
--   basis: what the lake's own columns rest on, in words
CREATE VIEW ccc_table_s4 AS
WITH choices AS (
    SELECT
        found.first, found.second,
        least(one.published_as, two.published_as) || ' ' || greatest(one.published_as, two.published_as) AS networks,
        row_number() OVER (
            PARTITION BY networks
            ORDER BY greatest(one.meaning, two.meaning), one.meaning + two.meaning, found.first, found.second
        ) AS place
    FROM (SELECT DISTINCT first, second FROM agreements WHERE first <> second) AS found
    JOIN agreement_sides AS one ON one.feature_set = found.first
    JOIN agreement_sides AS two ON two.feature_set = found.second
    WHERE one.published_as <> two.published_as
), values_of AS (
    SELECT least(first, second) || ' ' || greatest(first, second) AS networks, feature, ccc AS published, NULL AS ours
    FROM published_ccc
    UNION ALL
    SELECT choices.networks, ccc.feature, NULL, avg(ccc.ccc ORDER BY ccc.modality)
    FROM ccc JOIN choices ON choices.first = ccc.first AND choices.second = ccc.second AND choices.place = 1
    GROUP BY choices.networks, ccc.feature
)
SELECT
    feature, any_value(label) AS label,
    max(published) FILTER (networks = 'slowfast vivit') AS vivit_slowfast,
    max(published) FILTER (networks = 'ircsn vivit') AS vivit_ircsn,
    max(published) FILTER (networks = 'i3d vivit') AS vivit_i3d,
    max(published) FILTER (networks = 'ircsn slowfast') AS slowfast_ircsn,
    max(published) FILTER (networks = 'i3d slowfast') AS slowfast_i3d,
    max(published) FILTER (networks = 'i3d ircsn') AS i3d_ircsn,
    max(ours) FILTER (networks = 'slowfast vivit') AS our_vivit_slowfast,
    max(ours) FILTER (networks = 'ircsn vivit') AS our_vivit_ircsn,
    max(ours) FILTER (networks = 'i3d vivit') AS our_vivit_i3d,
    max(ours) FILTER (networks = 'ircsn slowfast') AS our_slowfast_ircsn,
    max(ours) FILTER (networks = 'i3d slowfast') AS our_slowfast_i3d,
    max(ours) FILTER (networks = 'i3d ircsn') AS our_i3d_ircsn,
    (
        SELECT string_agg(DISTINCT basis, '; ' ORDER BY basis) FROM ccc_summary JOIN choices USING (first, second)
        WHERE choices.place = 1 AND modality = 'all'
    ) AS basis
FROM values_of LEFT JOIN kinetics_labels USING (feature)
GROUP BY feature
ORDER BY feature;

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

-- One row per backbone that the study has a name of its own for. IRCSN is here what its text says that it is, R(2+1)D.
--   backbone: network, as gliolake names it
--   network: the same, as the study names it
CREATE VIEW study_networks AS
SELECT backbone, network FROM (VALUES
    ('vivit_b_16x2', 'ViViT'),
    ('vivit_released', 'ViViT'),
    ('slowfast_4x16_resnet50_kinetics400', 'SlowFast'),
    ('r2plus1d_v2_resnet152_kinetics400', 'IRCSN'),
    ('i3d_nl10_resnet101_v1_kinetics400', 'I3D')
) AS known (backbone, network);

-- One row per feature set, as a side of a comparison.
--   network: by the study's name where it has one, else the backbone's
--   meaning: how much figures of such weights mean, from 1 for trained ones down to 4 for random ones
CREATE VIEW agreement_sides AS
SELECT
    feature_set, backbone, coalesce(network, backbone) AS network, basis,
    list_position(['trained', 'released', 'untrained', 'random'], weights) AS meaning
FROM feature_bases LEFT JOIN study_networks USING (backbone);

-- One row per pair of networks in a published table.
--   first_network: by the study's name
--   second_network: by the study's name
--   published: mean over features of the concordance, as printed
CREATE VIEW published_agreements AS
SELECT
    source, coalesce(one.network, first) AS first_network, coalesce(two.network, second) AS second_network,
    avg(ccc ORDER BY feature) AS published
FROM published_ccc
LEFT JOIN (SELECT DISTINCT network FROM study_networks) AS one ON lower(one.network) = first
LEFT JOIN (SELECT DISTINCT network FROM study_networks) AS two ON lower(two.network) = second
GROUP BY ALL;

-- Figure 6. One row per pair of feature sets and modality, all of them together included: the mean concordance over
-- features. Where both are one feature set, the first and second examination of the same patients are compared. A
-- published pair of networks that the lake has not compared has neither feature sets nor a mean.
--   first_network: the first one's network, by the study's name where it has one
--   second_network: the second one's
--   published: mean over features of the published table, on the row of all modalities: it does not tell them apart
--   basis: what both sides rest on, in words
--   note: what is compared, where that is not two networks, and where the published figure is from
CREATE VIEW ccc_summary AS
WITH ours AS (
    SELECT
        found.first, found.second, one.network AS first_network, two.network AS second_network, found.modality,
        found.mean, found.ci_low, found.ci_high, found.features, found.scans, found.patients, printed.published,
        one.basis || if(two.basis <> one.basis, '; ' || two.basis, '') AS basis,
        concat_ws('; ',
            CASE WHEN found.first = found.second THEN 'first and second examination of the same patients'
                WHEN one.backbone = two.backbone THEN 'one network, two recipes' END,
            'published: mean over features of ' || printed.source
        ) AS note
    FROM ccc_means AS found
    JOIN agreement_sides AS one ON one.feature_set = found.first
    JOIN agreement_sides AS two ON two.feature_set = found.second
    LEFT JOIN published_agreements AS printed
        ON found.modality = 'all'
        AND (printed.first_network, printed.second_network)
            IN ((one.network, two.network), (two.network, one.network))
)
FROM ours
UNION ALL
SELECT
    NULL, NULL, printed.first_network, printed.second_network, 'all', NULL, NULL, NULL, NULL, NULL, NULL,
    printed.published, 'published',
    'published: mean over features of ' || printed.source || '; the lake has not compared vectors of these two'
FROM published_agreements AS printed
WHERE NOT EXISTS (
    FROM ours
    WHERE (printed.first_network, printed.second_network)
        IN ((ours.first_network, ours.second_network), (ours.second_network, ours.first_network))
)
ORDER BY first IS NULL, first, second, first_network, second_network,
    list_position(['FLAIR', 'T1', 'T1wCE', 'T2', 'DeltaT1', 'all'], modality);

-- One row per feature: the published concordance of each pair of networks, and beside it the lake's own, the mean over
-- modalities. Where several pairs of feature sets are of the same two networks, that whose weights mean most is shown,
-- the first of them by name.
--   vivit_slowfast: ViViT and SlowFast, as published
--   vivit_ircsn: ViViT and IRCSN, as published
--   vivit_i3d: ViViT and I3D, as published
--   slowfast_ircsn: SlowFast and IRCSN, as published
--   slowfast_i3d: SlowFast and I3D, as published
--   i3d_ircsn: I3D and IRCSN, as published
--   our_vivit_slowfast: ViViT and SlowFast, of the lake's own vectors
--   our_vivit_ircsn: ViViT and IRCSN, of the lake's own vectors
--   our_vivit_i3d: ViViT and I3D, of the lake's own vectors
--   our_slowfast_ircsn: SlowFast and IRCSN, of the lake's own vectors
--   our_slowfast_i3d: SlowFast and I3D, of the lake's own vectors
--   our_i3d_ircsn: I3D and IRCSN, of the lake's own vectors
--   basis: what the lake's own columns rest on, in words
CREATE VIEW ccc_table_s4 AS
WITH chosen AS (
    SELECT first, second, summary.basis,
        lower(least(first_network, second_network) || ' ' || greatest(first_network, second_network)) AS networks
    FROM ccc_summary AS summary
    JOIN agreement_sides AS one ON one.feature_set = first
    JOIN agreement_sides AS two ON two.feature_set = second
    WHERE modality = 'all' AND first_network <> second_network
    QUALIFY row_number() OVER (
        PARTITION BY networks ORDER BY greatest(one.meaning, two.meaning), one.meaning + two.meaning, first, second
    ) = 1
), figures AS (
    SELECT least(first, second) || ' ' || greatest(first, second) AS networks, feature,
        ccc AS published, NULL AS ours, NULL AS basis
    FROM published_ccc
    UNION ALL
    SELECT networks, feature, NULL, avg(ccc ORDER BY modality), any_value(basis)
    FROM ccc JOIN chosen USING (first, second) GROUP BY networks, feature
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
    string_agg(DISTINCT basis, '; ' ORDER BY basis) FILTER (networks IN (
        'slowfast vivit', 'ircsn vivit', 'i3d vivit', 'ircsn slowfast', 'i3d slowfast', 'i3d ircsn'
    )) AS basis
FROM figures LEFT JOIN kinetics_labels USING (feature)
GROUP BY feature
ORDER BY feature;

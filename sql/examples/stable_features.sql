-- Which features do two networks agree on most, and on which least?
--   feature: its place in the vector, from 1, and its class of Kinetics-400 where that is known
--   ccc: concordance of the pair, mean over modalities; rank counts from the most stable
WITH of_pair AS (
    SELECT first, second, feature, avg(ccc ORDER BY modality) AS ccc
    FROM ccc WHERE ccc.ccc IS NOT NULL GROUP BY first, second, feature
), ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY first, second ORDER BY ccc DESC, feature) AS rank,
        row_number() OVER (PARTITION BY first, second ORDER BY ccc, feature) AS from_the_end
    FROM of_pair
)
SELECT first, second, rank, feature, kinetics_labels.label, ccc
FROM ranked LEFT JOIN kinetics_labels USING (feature)
WHERE rank <= 5 OR from_the_end <= 5
ORDER BY first, second, rank;

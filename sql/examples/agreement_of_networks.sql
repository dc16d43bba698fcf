-- How well do the vectors of two networks agree, by modality?
--   mean: concordance correlation over the features, with its 95 % interval; 1 is agreement, 0 is none
--   published: the study's own figure for the pair, all modalities together
SELECT first_network, second_network, modality, mean, ci_low, ci_high, features, patients, published, basis, note
FROM ccc_summary;

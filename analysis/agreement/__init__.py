"""`gliolake ccc`: concordance of feature sets, feature by feature."""

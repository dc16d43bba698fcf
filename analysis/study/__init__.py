"""What becomes of a finished study: comparisons, correlations, subgroups, and published beside reproduced."""

"""Statistics of a finished study: comparisons, correlations, subgroups, and published beside reproduced values.

Public: ``command.analyse``, ``published.ask``, ``notation.Row``. May import curves, statistics, agreement and sql.
Reads predictions and writes rows.
"""

"""`gliolake search`: model selection by nested cross-validation.

Public: ``command.search``, ``candidates.named_candidates``, ``report.SearchReport``. May import models, evaluation and
data. The outer test part of a fold is used once, for the model that the inner folds selected.
"""

"""Modeling: from split views and vectors to predictions, attention weights and metrics.

Public: ``train.train``, ``experiment``, ``study``, ``nested_cv``, ``export``. May import sql and the layers below it;
it opens no image. torch and scikit-learn objects stay in here: results are rows.
"""

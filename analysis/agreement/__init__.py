"""`gliolake ccc`: concordance of feature sets, feature by feature.

Public: ``command.compute``, ``command.compare``, ``published.ingest_published``. May import sql and storage. Writes
tables ``ccc``, ``ccc_means`` and ``published_ccc``.
"""

"""`gliolake suspects`: suspected duplicates, pairs of scans whose vectors are too similar for two patients.

Public: ``command.find_suspects``, ``report.SuspectsReport``. Writes links of kind ``suspected``, which never merge
patients.
"""

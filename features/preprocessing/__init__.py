"""`gliolake preprocess`: raw sessions become registered, bias-corrected volumes, stored in the lake.

Public: ``settings.PreprocessSettings``, ``task.preprocess_session``, ``volumes.ready_scans``, ``volumes.read_image``.
May import ingest, the cluster and storage. SimpleITK's images stay in here: callers get arrays.
"""

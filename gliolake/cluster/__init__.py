"""Dask clients and tasks: local processes, a running cluster, SLURM or Kubernetes.

Public: ``client.open_cluster``, ``client.pool_workers``, ``tasks.map_tasks``, ``tasks.commit_in_batches``,
``failures.unless_all_fail``. May import log, process and the modules below them; it does not import tables or storage.
Dask's futures and time-outs stay in here: callers pass functions and get results.
"""

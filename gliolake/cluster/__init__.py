"""The Dask workers that a command runs on: local processes, a running cluster, SLURM or Kubernetes."""

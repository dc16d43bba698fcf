"""The MXNet engine, in a Python environment of its own. Nothing of MXNet is anywhere else."""

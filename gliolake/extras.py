"""Optional packages, and the extra of the installation that contains each."""

from __future__ import annotations

EXTRAS = {
    "PIL": ("report",),
    "SimpleITK": ("extract",),
    "dask_jobqueue": ("slurm",),
    "dask_kubernetes": ("kubernetes",),
    "jinja2": ("report",),
    "matplotlib": ("report",),
    "numba": ("extract", "train"),
    "openvino": ("extract",),
    "pydicom": ("extract",),
    "safetensors": ("extract", "train"),
    "sklearn": ("train",),
    "torch": ("extract", "train"),
    "transformers": ("extract",),
}
"""By the name under which a package is imported. pyproject.toml lists the packages of each extra."""


def missing_extra(error: object) -> tuple[str, str] | None:
    """What is missing and how to install it, if ``error`` says that a package of an extra is not there; else None."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    if package not in EXTRAS:
        return None
    ways = " or ".join(f"pip install 'gliolake[{extra}]'" for extra in EXTRAS[package])
    return f"The Python package {package} is not installed, and this command needs it.", f"Install it: {ways}."

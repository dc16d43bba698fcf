"""``python -m gliolake``."""

from gliolake.cli.app import main

main()

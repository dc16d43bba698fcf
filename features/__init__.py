"""Scans become clips, and clips become vectors of 400 numbers per backbone and branch."""

"""Verifying, repairing, purging and compacting a lake."""

"""`gliolake extract`: scans become vectors on a cluster."""

"""`gliolake suspects`: pairs of scans too similar for two people."""

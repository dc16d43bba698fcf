"""`gliolake preview`: contact sheets of scans, before and after preprocessing."""

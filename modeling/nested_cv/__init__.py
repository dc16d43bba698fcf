"""`gliolake search`: model selection by nested cross-validation."""

"""Models: from split views to predictions, attention weights and metrics, all folds trained together."""

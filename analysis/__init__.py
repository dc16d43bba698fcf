"""What is said about features and predictions: agreement, statistics, figures, reports, and the demo."""

"""What every step shares: the tables, the store that keeps them, the cluster that fills them, the errors."""

"""From the view ``snn_input`` to arrays, folds by patient, and harmonisation."""

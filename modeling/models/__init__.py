"""Models by name: logistic regression and the networks, and the settings that they are trained with."""

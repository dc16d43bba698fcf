"""The Siamese network and the MLP: all fits of a cross-validation trained together, in compiled loops."""

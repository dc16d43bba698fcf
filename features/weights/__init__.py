"""Pretrained weights: where they come from, how they are checked, and how a file becomes tensors."""

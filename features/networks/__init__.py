"""The video networks as torch modules, and what each wants to see."""

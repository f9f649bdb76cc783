"""The simulation of Gan & Liu 2024 (arXiv:2410.01720, section 4.4): Gaussian mixtures in the plane, many at once."""

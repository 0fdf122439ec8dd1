"""The evaluation ladder, robustness, the judge, sweeps, and when a model becomes the champion."""

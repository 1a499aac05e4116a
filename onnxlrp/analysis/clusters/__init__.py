"""SpRAy: spectral clustering of the heatmaps of a class, which shows the strategies that a model has for it."""

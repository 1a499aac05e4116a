"""The atlas: for every unit of a model the samples of a data set that it answers to most."""

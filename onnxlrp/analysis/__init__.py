"""Model analysis: prototypes of classes and units, found by one optimiser; models are handed over, none is imported."""

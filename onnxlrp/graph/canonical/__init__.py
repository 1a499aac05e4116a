"""One form for each meaning: affine maps merged into linear layers, activation formulas as one layer."""

"""The explained output and input of a model, its further inputs, and samples as it takes them."""

"""Samples in, explanations out: sources of named items, batches of them, sinks that write files."""

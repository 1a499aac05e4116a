"""Explanations in the browser: a static page around an exported explainer, which needs no server of its own."""

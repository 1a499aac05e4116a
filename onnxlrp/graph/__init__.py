"""From a file to the layer IR: `load.load` runs the passes, `graph.Graph` is what they make."""

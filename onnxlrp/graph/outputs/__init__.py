"""What is explained: heads and their logits, units, places and boxes, and how each becomes an output of the graph."""

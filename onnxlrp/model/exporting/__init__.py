"""What exported explainers are made of: the graph, pictures in front of it, older opsets, weights in half precision."""

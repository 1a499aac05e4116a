"""Programs: instructions, tracing, linear maps, and their meaning in numpy. It imports numpy alone."""

"""Which axes of the input the axes of every tensor stand for, and what the first layers take them for."""

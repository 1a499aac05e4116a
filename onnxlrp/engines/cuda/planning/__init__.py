"""Planning: from a program to launches and memory, in plain Python, without a device."""

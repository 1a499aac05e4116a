"""Operators written as others that have rules: Einsum, writes to constant places, BatchNormalization of tokens."""

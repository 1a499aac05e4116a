"""Shared by several tests: small models, programs on every engine, planted faults. No test imports another test."""

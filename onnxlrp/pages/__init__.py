"""Offline pages: HTML by construction, their shell, and pictures inside of them."""

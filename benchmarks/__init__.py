"""Measurements against a running service; each prints its figures and how it came by them."""

"""Faults on purpose: what strikes, when, and what must hold afterwards."""

"""Real Baculas and real QEMU guests, private to one test."""

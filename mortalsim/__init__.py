"""Simulated mortal hardware: analog chips, no two alike, trained as black boxes without backpropagation."""

__version__ = "0.1.0"

"""Evaluating encoders on tasks: figures with intervals, beside published ones and chance."""

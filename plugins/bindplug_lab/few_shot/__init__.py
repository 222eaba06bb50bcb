"""Classifying from a few examples a class: learners on frozen rows, curves over the number of examples."""

"""Experiments: binding towers, evaluating, few-shot curves, ablations, judging image encoders, scores."""

"""Encoders of the transformers and sentence-transformers libraries behind bindplug's face.

``bindplug.load("transformers:laion/clap-htsat-unfused")`` and ``bindplug.load("sentence-transformers:ID")`` come here.
"""

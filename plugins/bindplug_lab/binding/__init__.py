"""``bindplug bind``: a tower trained on pairs of a picture and another sense, and the directory it becomes."""

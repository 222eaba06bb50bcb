"""The engine ``ray`` of ``bindplug embed``: one job on many processes or machines, in partitions that are resumed."""

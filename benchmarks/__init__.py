"""How many times faster and smaller bindplug is than a straightforward implementation, at equal numbers."""

"""Disparity maps of stereo cameras, as queries for bindplug."""

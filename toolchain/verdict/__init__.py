"""Replay on the device, compare with the host, and say whether it is good."""

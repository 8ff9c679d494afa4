"""The shelf application: the host twin of what the device computes between a sale and an alert."""

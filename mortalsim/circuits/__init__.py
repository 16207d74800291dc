"""What surrounds the devices: neurons and their curves, converters, nudge ports, the normaliser."""

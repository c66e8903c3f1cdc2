"""The decoder in integers: its file, its NumPy model, and the way to it from full precision."""

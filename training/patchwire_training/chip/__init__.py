"""The chip: its arithmetic as trainable layers, its programs' files, and an integer model of it."""

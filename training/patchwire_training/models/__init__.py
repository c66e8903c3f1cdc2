"""The networks: layer tables of the programs, and the decoders."""

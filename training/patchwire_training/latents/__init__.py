"""The latent codec: an independent model of it, and its golden frames."""

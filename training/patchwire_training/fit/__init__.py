"""Methods: fits in closed form, losses, optimizers, and the loop of a run."""

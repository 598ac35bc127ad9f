"""Pictures into latent codes and back: encoder inversion, projection, pivotal tuning."""

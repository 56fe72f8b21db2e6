"""The autoencoder around the engine."""

"""Follow exports over event streams, or by polling."""

"""What operators do with dead letters: look, replay, take them out."""

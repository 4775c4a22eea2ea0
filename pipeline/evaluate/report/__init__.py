"""An evaluation as one HTML file for people to read."""

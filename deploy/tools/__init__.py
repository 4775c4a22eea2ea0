"""What checks deploy/: `install` brings the programs and libraries of `requirements.in`."""

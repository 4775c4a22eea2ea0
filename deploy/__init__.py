"""What operators deploy, and the generators of what is too long to write by hand."""

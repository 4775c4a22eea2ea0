"""What answers are made of: labels, further fields, amounts and dates."""

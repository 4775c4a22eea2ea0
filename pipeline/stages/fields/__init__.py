"""What is asked for, and what answers are made of: labels, further fields, amounts and dates."""

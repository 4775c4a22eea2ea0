"""What people do with what neither model could settle: look, decide, once."""

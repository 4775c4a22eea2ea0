"""Events that are as bad as their size allows, and what every check makes of them."""

"""Where every kernel pixel sits, and what a round is: the one formula, and mappings as data."""

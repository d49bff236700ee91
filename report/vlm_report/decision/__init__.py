"""What may be chosen from, by which rule, and what would turn the choice."""

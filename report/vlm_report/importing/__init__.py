"""Results measured elsewhere, as records marked reported; what cannot be right is flagged on entry."""

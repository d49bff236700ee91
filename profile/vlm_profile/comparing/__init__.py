"""Results beside each other, beside budgets, and as a gate for continuous integration."""

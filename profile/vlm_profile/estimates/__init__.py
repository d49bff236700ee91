"""What a device that is not here would need for a model: estimates, each with an interval and its grounds."""

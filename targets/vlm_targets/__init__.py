"""What is known of each device, and what a device says of itself."""

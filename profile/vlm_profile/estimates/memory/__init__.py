"""What memory a process takes to run a model: weights, the arena of activations, inputs and outputs, the runtime."""

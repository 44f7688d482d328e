"""Systems side by side on any task: what they are, how they are trained, what came of it."""

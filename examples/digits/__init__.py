"""Pictures of digits, and the network that draws them."""

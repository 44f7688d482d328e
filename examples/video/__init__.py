"""Clips in their published folders or made up, and the recognition of what happens in them."""

"""The numbers that the two papers print, and their experiment on a single matrix."""

"""Pictures with captions in the layout of MSCOCO or made up, and a network that writes captions."""

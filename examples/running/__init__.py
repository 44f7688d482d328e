"""Options, processes, checkpoints, tables and the style of pictures."""

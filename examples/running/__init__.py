"""How a program runs and what it leaves: options, processes, checkpoints, files, tables, the look of its pictures."""

"""Words, their phonemes and a trained network that pronounces them, for programs that compress it."""

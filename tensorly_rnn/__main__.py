"""The command line, as ``python -m tensorly_rnn``."""

import sys

from tensorly_rnn.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())

"""The command ``tensorly-rnn``: one file a subcommand. The only room that prints, and the first to find a user's mistake."""

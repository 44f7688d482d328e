"""The command ``tensorly-rnn``, one file for each subcommand; the only package that prints."""

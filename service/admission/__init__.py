"""Who may call, how often, and when again: for every protocol."""

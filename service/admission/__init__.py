"""API keys, rate limits and retries, for every protocol."""

"""Pictures and models: decode, batch, compute. It knows nothing of HTTP or processes."""

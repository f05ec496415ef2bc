"""The parsers, colours, transparency and decoding cost of each kind of picture."""

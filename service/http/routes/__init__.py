"""Routes, which only translate HTTP."""

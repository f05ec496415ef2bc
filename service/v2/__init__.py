"""The Open Inference Protocol V2, independent of the transport."""

"""What the Open Inference Protocol V2 says, over whatever transport."""

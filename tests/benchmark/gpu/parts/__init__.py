"""What is looked at, a part a file; each has `measure(plan)`, which gives its findings."""

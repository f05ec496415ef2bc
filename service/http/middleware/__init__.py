"""What happens around every request: one pure ASGI class a file."""

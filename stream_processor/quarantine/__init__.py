"""What was refused is kept, and can be sent again."""

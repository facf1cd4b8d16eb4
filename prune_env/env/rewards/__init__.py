"""What a mask is paid for, by name."""

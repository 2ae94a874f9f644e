"""What a reading comes to, task by task: numbers and boxes become findings, a negative among them."""

"""What is done with finished runs, or around them: publish, accelerator."""

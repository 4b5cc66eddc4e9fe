"""What the experiments on accuracy and speed share: truths, the ulp, and who is compared."""

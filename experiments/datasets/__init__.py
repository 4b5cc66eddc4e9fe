"""What several themes train on: images and tables that scikit-learn ships, and drawn shapes."""

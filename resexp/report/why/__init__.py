"""What the diagnoses show: figures and sentences."""

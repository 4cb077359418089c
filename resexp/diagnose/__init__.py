"""What a network shows about depth: gradients, responses, lesions. Measured here, drawn by the report."""

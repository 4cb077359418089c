"""What a network shows about depth: gradients, responses, lesions, construction. Measured here, drawn by the report."""

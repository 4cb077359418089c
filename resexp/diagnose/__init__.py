"""What a network shows about depth: gradients, responses, lesions. Here they are measured; the report draws them."""

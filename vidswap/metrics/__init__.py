"""What a swap is judged by: pure maths on arrays, embeddings and landmarks."""

"""A .tflite file as a verified graph, its integers, and the exact forecast on the host."""

"""Train the network, make it integer, run it on the host: the only users of TensorFlow.

Importing this package costs nothing; TensorFlow comes in with the function that needs it.
"""

"""Try many models, measure each, draw what they cost against what they achieve, and pick one.

TensorFlow is only imported in the worker processes, never in the process that leads the study.
"""

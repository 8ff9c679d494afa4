"""Put an image onto a board with the well-kept tool of its ecosystem: one module per tool.

A module says what its tool is called, where it comes from, which commands write an image, and what
its complaints mean; `catalog` finds the module by the `kind` of a profile's `[flasher]` table.
"""

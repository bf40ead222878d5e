"""Model files, what they measure, the price book, and quotes for printed parts.

Nothing is imported here: the measuring process loads this package without the rest of the portal.
"""

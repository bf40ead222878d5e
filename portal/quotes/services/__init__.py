"""What the business does with model files and quotes: one function per verb, the only writers."""

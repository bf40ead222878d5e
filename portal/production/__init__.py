"""Sales orders of printed parts: made, checked, shipped and tracked."""

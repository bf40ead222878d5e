"""What is done with domains; each module is one capability."""

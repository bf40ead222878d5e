"""The customer's pages of quotes: uploading, changing, deciding, and the files themselves."""

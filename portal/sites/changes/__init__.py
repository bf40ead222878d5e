"""Changes that a site's owner asks for: asked, drafted, looked at, approved piece by piece, put online, undone."""

"""Pictures of every page for docs/screens: `tour` takes them, `street` is the portal with all its companies, `pages`
says which pages there are, and each other module walks through one part of the portal as its people do."""

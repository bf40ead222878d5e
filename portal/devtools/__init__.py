"""Pages for whoever builds the portal; registered in development and in tests only."""

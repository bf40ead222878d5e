"""The back office: pages for staff on top of every domain's services. It holds no rule of its own."""

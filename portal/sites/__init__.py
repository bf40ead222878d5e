"""Hosted websites: their content in versions, deployment onto web servers, the page that sells them."""

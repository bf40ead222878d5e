"""What merchants, staff and payments do."""

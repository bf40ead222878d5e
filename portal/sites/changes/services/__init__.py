"""What happens to a change request, one file for each part of its life."""

"""What staff and carriers do with a parcel, one function per verb."""

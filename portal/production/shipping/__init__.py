"""Parcels of sales orders: carriers, labels, handing over, and what carriers say about a parcel on its way."""

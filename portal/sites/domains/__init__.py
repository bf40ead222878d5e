"""Customers' own domains for their sites: asked for, proven, given a certificate, served, and watched."""

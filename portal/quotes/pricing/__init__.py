"""The price book and what follows from it: a price is a pure function of measures, options and the book's version."""

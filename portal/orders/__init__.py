"""The cart, checkout, orders with typed lines, and enrolment in what was bought."""

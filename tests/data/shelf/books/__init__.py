"""The application of the project: books and what is done to them."""

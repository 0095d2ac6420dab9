"""A real PostgreSQL, one for all tests of the session, with the tables and the ordinary role in a database for each test."""

"""The same checkpoint behind other servers, each written as its own documentation shows it."""

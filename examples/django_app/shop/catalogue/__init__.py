"""What can be bought, and what is said of it: `shop.parts.Catalogue`."""

"""Who has paid what: `shop.parts.Ledger`."""

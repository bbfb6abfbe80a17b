"""A Shield Server from the outside: over HTTP, with credentials, in the formats of CONTRACT §7 and §8."""

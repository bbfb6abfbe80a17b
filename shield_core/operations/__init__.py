"""The engine's operations, in groups. All are coroutines; ``engine.sync`` has them as plain functions."""

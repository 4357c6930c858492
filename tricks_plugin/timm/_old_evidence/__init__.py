"""The old measurements that have not moved to their rooms yet."""

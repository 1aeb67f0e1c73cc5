"""PostgreSQL held: its protocol, its sessions, its locks, and its connections kept open."""

"""Servers for scenarios: real ones, found on the machine and stopped at exit, and embedded ones."""

from desvelo.servers.embedded_redis import EmbeddedRedis
from desvelo.servers.launch import ServerUnavailable
from desvelo.servers.postgres import PostgresServer, postgres
from desvelo.servers.redis import RedisServer, redis

__all__ = [
    "EmbeddedRedis",
    "PostgresServer",
    "RedisServer",
    "ServerUnavailable",
    "postgres",
    "redis",
]

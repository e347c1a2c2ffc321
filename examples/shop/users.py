"""Who may log in."""

import sqlite3
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

hasher = PasswordHasher()


@dataclass
class User:
    id: int
    email: str
    password_hash: str

    def password_is(self, password):
        try:
            return hasher.verify(self.password_hash, password)
        except VerifyMismatchError:
            return False


class Users:
    def __init__(self, url):
        self.db = sqlite3.connect(url, check_same_thread=False)

    def by_email(self, email):
        row = self.db.execute(
            "SELECT id, email, password_hash FROM users WHERE email = ?", (email,)
        ).fetchone()
        return User(*row) if row else None

"""The shop: a small web service, here only for the recordings to be about something."""

import os

import redis
from flask import Flask

from login import login_pages
from users import Users


def create_app():
    app = Flask(__name__)
    app.users = Users(os.environ["DATABASE_URL"])
    app.redis = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost"))
    app.register_blueprint(login_pages)
    return app

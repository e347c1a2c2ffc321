"""Logging in and out. A session is a random token, kept in Redis for a day."""

import secrets

from flask import Blueprint, current_app, jsonify, request

login_pages = Blueprint("login", __name__)

DAY = 24 * 60 * 60


@login_pages.post("/login")
def login():
    form = request.get_json()
    user = current_app.users.by_email(form["email"])
    if user is None or not user.password_is(form["password"]):
        return jsonify(error="wrong e-mail or password"), 401
    token = secrets.token_urlsafe(32)
    current_app.redis.setex(f"session:{token}", DAY, user.id)
    return jsonify(token=token)


@login_pages.post("/logout")
def logout():
    current_app.redis.delete(f"session:{request.headers['Authorization']}")
    return "", 204

def test_login_gives_a_token(client, anna):
    answer = client.post("/login", json={"email": anna.email, "password": "correct horse"})
    assert answer.status_code == 200
    assert answer.json["token"]


def test_a_wrong_password_is_refused(client, anna):
    answer = client.post("/login", json={"email": anna.email, "password": "wrong"})
    assert answer.status_code == 401

"""The plain alternative that people write: Flask, joblib, a scikit-learn pipeline on a one-row frame, each prediction logged to PostgreSQL.

Only benchmarks/api.py starts it. It is as quick as its kind allows: a model loaded once, one connection a thread, one INSERT a request.
(joblib's files are pickles; this one is made and read by the benchmark alone.)
"""

from __future__ import annotations

import os
import threading
from typing import Any

import joblib
import pandas as pd
import psycopg
from flask import Flask, jsonify, request

app = Flask(__name__)
model = joblib.load(os.environ["PEER_MODEL"])
columns = list(model.feature_names_in_)
_held = threading.local()


def _connection() -> psycopg.Connection:
    if getattr(_held, "connection", None) is None:
        _held.connection = psycopg.connect("postgresql://" + os.environ["DATABASE_URL"].partition("://")[2], autocommit=True)
    return _held.connection


@app.post("/predict")
def predict() -> Any:
    body = request.get_json()
    row = pd.DataFrame([{name: body.get(name) for name in columns}])
    probability = float(model.predict_proba(row)[0, 1])
    _connection().execute("INSERT INTO bench_peer (body, probability) VALUES (%s, %s)", [psycopg.types.json.Jsonb(body), probability])
    return jsonify(probability=probability, decision="approve" if probability < 0.15 else "decline")

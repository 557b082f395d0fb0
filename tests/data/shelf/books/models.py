"""The tables."""

from __future__ import annotations

from django.db import models


class Book(models.Model):  # type: ignore[misc]
    """A book, and how many times a task has counted its pages."""

    title = models.CharField(max_length=100)
    counted = models.IntegerField(default=0)

"""Shots, detection, landmarks, tracking, casting."""

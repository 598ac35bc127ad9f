"""Procedural heads with ground truth: pictures, labels, landmarks, true swaps, clips."""

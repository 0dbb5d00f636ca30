"""Networks and pre-training: which networks learn, and how they are trained by Lightning's fit."""

"""Which requests does the page's API answer?"""

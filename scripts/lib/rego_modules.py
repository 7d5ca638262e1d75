def generate(random, count, only):
    return []

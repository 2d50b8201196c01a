"""Small C++ libraries behind plain C interfaces, each with a PyTorch path of equal results."""

"""SA-Conv: sample-adaptive equivariant convolutions for image restoration."""

"""What people do with a DenseNet in each ecosystem, tried with ours: docs/compatibility.md is made of it."""

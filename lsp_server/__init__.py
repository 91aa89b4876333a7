"""What the editor talks to. Knows LSP; knows no tensors."""

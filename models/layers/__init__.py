"""The sharded layers of a Llama decoder."""

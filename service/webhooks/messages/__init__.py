"""What a delivery looks like on the wire: its body in the format of its endpoint, and the endpoint's own headers."""

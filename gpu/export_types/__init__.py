"""Export types: what framing, overlay and annotate do to frames."""

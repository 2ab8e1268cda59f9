"""The portal: a page on which a user manages webhooks, opened with a link that needs no other sign-in."""

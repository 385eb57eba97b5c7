"""The edges: AWS and TikTok behind the ports. Only ``bootstrap`` names what is in here."""

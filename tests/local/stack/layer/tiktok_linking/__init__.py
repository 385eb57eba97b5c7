"""In place of the real package, so that these tests show the local world alone."""

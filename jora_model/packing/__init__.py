"""Token sequences become prefix tries, rows and tiles; arrays only."""

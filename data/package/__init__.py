"""The dataset as a product: splits, exports, card and page."""

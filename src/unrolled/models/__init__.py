"""Models for a task: recurrent layers with what stands before and behind them."""

"""Recurrent layers, LSTM, GRU and RNN, unfolded into layers that work on all steps at once."""

"""Training one network: the loop, the step, the rate, the device."""

"""Makes batches of waiting pictures: queues, threads, lanes for slow ones, devices."""

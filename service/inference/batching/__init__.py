"""How pictures that wait become batches: queues, threads, lanes for slow ones, devices."""

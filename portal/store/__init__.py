"""The portal's private tables: what may be lost or erased, and gives no authority. The log knows nothing of it."""

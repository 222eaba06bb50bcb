"""bindplug's encoders as mteb models, and the senses benchmark as mteb tasks."""

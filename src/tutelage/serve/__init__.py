"""OpenAI's HTTP protocol over any LM: it is handed the models and never opens one."""
